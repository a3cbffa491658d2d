"""A DuckDB file that is gone or damaged: how that is noticed, and how the file is set aside.

DuckDB goes on writing into a file that was removed or replaced under its name, and everything
written then is lost. So the identity of the file is compared before each commit. A damaged file
(cut, or overwritten in part) shows itself by DuckDB's own words, at its opening or in a query. It
is renamed and kept, and a new one is begun.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

MAGIC = b"DUCK"  # near the beginning of every DuckDB file
MAGIC_WITHIN = 16
Identity = tuple[int, int]

# DuckDB's words for content that it cannot read, in whatever class of error they come.
DAMAGED = re.compile(
    r"could not read enough bytes|not a valid DuckDB database file|corrupt "
    r"database|checksum|failed to deserialize",
    re.IGNORECASE,
)


def is_damage(words: str) -> bool:
    """Return True if DuckDB's words report unreadable content."""
    return DAMAGED.search(words) is not None


def is_duckdb_file(path: Path) -> bool:
    """Return True if the damaged file is, or by its name was, a DuckDB file.

    Any other file that the settings name by mistake stays where it is.
    """
    if path.suffix == ".duckdb":
        return True
    with path.open("rb") as file:
        return MAGIC in file.read(MAGIC_WITHIN)


def identity_of(path: Path) -> Identity | None:
    """Return the identity of the file, which differs for another file of the same name; None
    without a file.
    """
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def set_aside(path: Path, now: float | None = None) -> Path:
    """Rename the file and the file's log; return the new path. Raises OSError."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.unreadable-{moment}")
    log = path.with_name(f"{path.name}.wal")
    # The log goes first. A crash between the two renames leaves the damaged file, which is found
    # again; the other order would give the old log to the new file.
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}.wal"))
    path.rename(aside)
    return aside
