"""Access records on disk while Redis is away: bounded, and found again by whichever gateway comes
first.

A batch is a file of its own, made whole before it gets its name. Two gateways that read the same
file do no harm, as a record that arrives twice adds nothing.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack, unpack
from shared.runtime.errors import ClientError
from shared.runtime.files import replace_private
from shared.runtime.log import get_log

SUFFIX = ".records"


class Spool:
    """Files under `directory`, together at most `limit` bytes. All I/O blocks: call the methods
    from a thread.
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
            replace_private(self._directory / (name + SUFFIX), data)
        except OSError as error:
            get_log().warning("spool_failed", directory=str(self._directory), reason=str(error))
            return False
        return True

    def oldest(self) -> tuple[Path, list[AccessRecord]] | None:
        """Return the oldest file and the file's records, until the file is `drop`ped; an unreadable
        file is renamed.
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
        """Remove a file after the publication of its records. After a failed removal the file is
        not read again.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            get_log().warning("spool_file_stays", path=str(path), reason=str(error))
            self._stuck.add(path)

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
