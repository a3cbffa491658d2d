"""Access records on disk while Redis is away: bounded, and found again by whichever gateway comes
first.

A batch is a file of its own, made whole before it gets its name. Two gateways that read the same
file do no harm, as a record that arrives twice adds nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack, unpack
from shared.runtime.errors import ClientError
from shared.runtime.log import get_log

SUFFIX = ".records"


class Spool:
    """Files under `directory`, together at most `limit` bytes. Does blocking I/O: call it from a
    thread.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._numbers = itertools.count()
        # Files that cannot be removed or renamed: without the set such a file would
        # be the oldest for ever.
        self._stuck: set[Path] = set()

    def keep(self, records: list[AccessRecord]) -> bool:
        """Write the records to disk. Return False when there is no room, or the write fails."""
        data = encode_payload(pack(records))
        # Names sort by time, and differ between processes and within a process.
        name = f"{time.time_ns()}-{os.getpid()}-{next(self._numbers)}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if sum(path.stat().st_size for path in self._files()) + len(data) > self._limit:
                return False
            self._write(name, data)
        except OSError as error:
            get_log().warning("spool_failed", directory=str(self._directory), reason=str(error))
            return False
        return True

    def oldest(self) -> tuple[Path, list[AccessRecord]] | None:
        """Return the oldest file and its records, until the file is `drop`ped; an unreadable file
        is renamed.
        """
        for path in self._files():
            if path in self._stuck:
                continue
            try:
                return path, unpack(path.read_bytes())
            except FileNotFoundError:
                continue  # another gateway was quicker
            except (OSError, ClientError) as error:
                get_log().warning("spool_file_unreadable", path=str(path), reason=str(error))
                self._set_aside(path)
        return None

    def drop(self, path: Path) -> None:
        """Remove a file whose records are published. A file that cannot be removed is not read
        again.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            get_log().warning("spool_file_stays", path=str(path), reason=str(error))
            self._stuck.add(path)

    def _write(self, name: str, data: bytes) -> None:
        # No reader looks for this name: a file gets its final name once all bytes are written.
        unfinished = self._directory / f"{name}.unfinished"
        try:
            with open(
                os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as file:
                file.write(data)
            unfinished.rename(self._directory / (name + SUFFIX))
        except OSError:
            # On a full disk the piece that was written would take up room for ever.
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def _set_aside(self, path: Path) -> None:
        # Under its old name the file would be the oldest for ever, and hold up all later files.
        try:
            path.rename(path.with_suffix(".unreadable"))
        except FileNotFoundError:
            return  # another gateway was quicker
        except OSError as error:
            get_log().warning("spool_file_stays", path=str(path), reason=str(error))
            self._stuck.add(path)

    def _files(self) -> Iterator[Path]:
        return iter(sorted(self._directory.glob(f"*{SUFFIX}")))
