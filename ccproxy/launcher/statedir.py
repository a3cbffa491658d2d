"""The state directory: what one stack must not lose with its run directory, which is the data of
its own Redis.

The run directory has sockets and may lie in memory: it goes at a logout, a reboot, a cleaning of
temporary files. The state directory lies on disk. Its own lock keeps two stacks with different run
directories from writing the same file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from ccproxy.launcher.redis_server import private_directory
from ccproxy.launcher.rundir import STOPPING_SECONDS, AlreadyRunning, lock_within
from shared.settings.places import default_run_dir, state_dir
from shared.settings.problems import ConfigurationError
from shared.settings.servers import ServerSettings


def stack_state_dir(server: ServerSettings) -> Path:
    """Return the state directory: the directory set, else the usual directory beside the usual run
    directory.

    A run directory of the owner's choice has its state in it.
    """
    if server.state_dir is not None:
        return server.state_dir
    return state_dir() / "stack" if server.run_dir == default_run_dir() else server.run_dir


class StateDirectory:
    """Taken on entry. Raises AlreadyRunning, or ConfigurationError when the directory cannot be
    used.
    """

    def __init__(self, path: Path, patience: float = STOPPING_SECONDS) -> None:
        """Prepare the directory at `path`; a second stack in the middle of stopping gets `patience`
        seconds to be gone.
        """
        self.path = path
        self._patience = patience

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
        if not lock_within(self.lock, self._patience):
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

    def adopt(self, run_dir: Path) -> None:
        """Move Redis' data from the former place in `run_dir` to this directory. Raises OSError."""
        former = run_dir / "redis"
        # Only while the new place is empty: data written there since are newer than those of the
        # former place.
        if former != self.redis and former.is_dir() and not self.redis.exists():
            shutil.move(former, self.redis)
