"""The DuckDB file is opened: its configuration, its migrations, and the lock on everything outside
of it.

Once a file is open, no statement reaches a file but the database itself and the exports, and no
statement can change that.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from analytics.statements import MIGRATIONS, STATEMENTS
from shared.runtime.errors import StoreUnavailable

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    # rows stay in memory, a kilobyte each, until the log is written into the file
    "checkpoint_threshold": "4MB",
    "threads": 2,
    "autoinstall_known_extensions": False,  # nothing is downloaded behind the owner's back
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a query sees tables, never the variables of this program
    "max_temp_directory_size": "1GB",
}
HOLDER = re.compile(r"Conflicting lock is held in .*?\(PID (\d+)\)")

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, and naive as the column is


def open_file(path: Path, exports: Path) -> tuple[duckdb.DuckDBPyConnection, datetime]:
    """Open the file at `path`, or a new file where `path` is missing, and lock the open file in;
    return the file with the end of the summed hours. Raises StoreUnavailable.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = duckdb.connect(path, config=CONFIG)
    except (OSError, duckdb.Error) as error:
        raise StoreUnavailable(_why_closed(path, str(error))) from error
    try:
        _migrate(connection, path)
        # The views name columns that a migration may have added, so the migration comes first.
        _close_in(connection, exports)
        (summed_until,) = connection.execute(STATEMENTS["summed_until"]).fetchall()[0]
    except (duckdb.Error, StoreUnavailable) as error:
        connection.close()
        raise StoreUnavailable(str(error)) from error
    return connection, summed_until


def _why_closed(path: Path, message: str) -> str:
    if holder := HOLDER.search(message):
        return (
            f"Another program (PID {holder[1]}) holds {path}; records wait in Redis until it lets "
            "go."
        )
    return f"The DuckDB file {path} cannot be opened: {first_line(message)}"


def first_line(words: object) -> str:
    """Return the first line of DuckDB's words, without the advice or trace on further lines."""
    return next(iter(str(words).splitlines()), "")


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER, applied_at TIMESTAMP)"
    )
    found = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchall()[
        0
    ][0]
    if found > len(MIGRATIONS):
        raise StoreUnavailable(
            f"{path} was written by a newer CCProxy (schema {found}, this one knows "
            f"{len(MIGRATIONS)}). Upgrade CCProxy, or set OBSERVABILITY__DUCKDB_PATH to another "
            "file."
        )
    # Each version is a transaction with its own row in `schema_versions`: a crash in between
    # repeats or skips no step.
    for version, script in enumerate(MIGRATIONS[found:], start=found + 1):
        connection.begin()
        connection.execute(script)
        connection.execute(
            "INSERT INTO schema_versions VALUES (?, ?)", [version, utc_time(time.time())]
        )
        connection.commit()


def _close_in(connection: duckdb.DuckDBPyConnection, exports: Path) -> None:
    """Keep later statements from every file but the database and the exports, for good."""
    connection.execute(STATEMENTS["views"])
    directory = str(exports).replace("'", "''")
    # The order matters: the directory cannot be named once external access is off, and nothing can
    # be changed once the configuration is locked.
    connection.execute(f"SET allowed_directories = ['{directory}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def utc_time(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)  # in half the time `fromtimestamp` takes
