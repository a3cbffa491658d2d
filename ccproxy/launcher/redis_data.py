"""The data directory of our own Redis: set aside when Redis cannot start with it.

Redis may be unable to start for two kinds of reasons: its files (noise inside the append-only
file), or anything else (no memory, a full disk). So the directory is set aside and Redis is started
once more with an empty one. If that fails too, the files were not the reason, and the directory is
put back: what was accepted is not lost to a guess. A Redis that ran and then died has read its
files; then only its own log can blame them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

REDIS_DATA = "CCPROXY_REDIS_DATA"  # the variable that names the directory to the listener
LOG_BYTES = 4096  # of the end of the log: several of its lines
# the words of Redis and Valkey for a file that they cannot read
BLAME = (
    b"append only file",
    b"AOF",
)


class RedisData:
    """The data directory at `path`, the server's `log`, and the place where the data is set aside
    at present.
    """

    def __init__(self, path: Path, log: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._aside: Path | None = None

    @property
    def is_set_aside(self) -> bool:
        return self._aside is not None

    def is_blamed(self) -> bool:
        """Return True if the server's last words are about the server's files."""
        try:
            with self._log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - LOG_BYTES))
                last = log.read()
        except OSError:
            return False
        return any(words in last for words in BLAME)

    def set_aside(self) -> Path | None:
        """Rename the directory and make an empty one. Return the new place; None for an empty
        directory. Raises OSError.
        """
        if not self._path.is_dir() or not any(self._path.iterdir()):
            return None
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        aside = self._path.with_name(f"{self._path.name}.unreadable-{moment}")
        self._path.rename(aside)
        self._path.mkdir(mode=0o700)
        self._aside = aside
        return aside

    def put_back(self) -> None:
        """Put the directory back in place; files of a failed Redis in the place are removed. Raises
        OSError.
        """
        if self._aside is None:
            return
        # What the failed start wrote is worth nothing, and a rename needs the place free.
        shutil.rmtree(self._path, ignore_errors=True)
        self._aside.rename(self._path)
        self._aside = None

    def keep(self) -> None:
        """Leave the directory set aside: Redis runs with the empty directory."""
        self._aside = None
