"""The state directory: what one stack must not lose with its run directory, which is the data of
its own Redis.

The run directory has sockets and may lie in memory: it goes at a logout, a reboot, a cleaning of
temporary files. The state directory lies on disk. Its own lock keeps two stacks with different run
directories from writing the same file.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ccproxy.launcher.redis_server import private_directory
from ccproxy.launcher.rundir import STOPPING_SECONDS, AlreadyRunning, lock_within
from shared.settings.problems import ConfigurationError

Rename = Callable[[Path, Path], None]


class StateDirectory:
    """Taken on entry. Raises AlreadyRunning, or ConfigurationError when the directory cannot be
    used.
    """

    def __init__(self, path: Path, timeout: float = STOPPING_SECONDS) -> None:
        """Prepare the directory at `path`; a second stack in the middle of stopping gets `timeout`
        seconds to be gone.
        """
        self.path = path
        self._timeout = timeout

    @property
    def redis(self) -> Path:
        """The data of Redis."""
        return self.path / "redis"

    def __enter__(self) -> Self:
        try:
            self.path = private_directory(self.path)
            self.lock = os.open(self.path / "state.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The state directory {self.path} cannot be used: {error.strerror}; see "
                "SERVER__STATE_DIR."
            ) from error
        if not lock_within(self.lock, self._timeout):
            os.close(self.lock)
            raise AlreadyRunning(
                f"Another stack keeps its state in {self.path}; stop that one, or give this one "
                "another SERVER__STATE_DIR."
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.lock)

    def adopt(self, run_dir: Path, *, rename: Rename = os.rename) -> None:
        """Move Redis' data from the former place in `run_dir` to this directory. Raises OSError,
        and then leaves the data at the former place.
        """
        former = run_dir / "redis"
        # Only while the new place is empty: data written there since are newer than those of the
        # former place.
        if former == self.redis or not former.is_dir() or self.redis.exists():
            return
        try:
            rename(former, self.redis)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._adopt_copy(former, rename)

    def _adopt_copy(self, former: Path, rename: Rename) -> None:
        """Move the data at `former` from another file system."""
        draft = self.redis.with_name("redis.unfinished")
        # A draft of a start that was killed.
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(former, draft, copy_function=_copy_to_disk)
            # The new place gets its name with all data in it: a start that finds the name takes
            # the data for whole.
            rename(draft, self.redis)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        # Data that cannot be removed do no harm: the new place is in use from here on.
        shutil.rmtree(former, ignore_errors=True)


def _copy_to_disk(source: str, target: str) -> None:
    """Copy a file with all rights, and have the bytes on disk before the original is removed."""
    shutil.copy2(source, target)
    with open(target, "rb") as copied:
        os.fsync(copied.fileno())
