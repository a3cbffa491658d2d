"""The run directory: one running stack's sockets and files, and the lock that keeps it one.

The lock is held by the launcher and, through the same open file, by its supervisord; it is free
only when both are gone. So a new start never meets a half-dead stack: it waits for it, and in the
end kills it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ccproxy.launcher.living import is_alive
from ccproxy.launcher.redis_server import private_directory
from shared.runtime.errors import CCProxyError
from shared.runtime.files import replace_private
from shared.settings.problems import ConfigurationError

STOPPING_SECONDS = 10.0  # longer than any orderly stop of an orphaned stack
LEFTOVERS = (
    *("fatal", "reload", "supervisord.conf", "supervisord.pid", "gateway.sock"),
    *(
        "programs.conf",
        "workers.conf",
        "redis.conf",
        "control.json",
        "pinned.json",
        "settings.json",
    ),
)


class AlreadyRunning(CCProxyError):
    """CCProxy is already running in this run directory."""


def holder(run_dir: Path) -> dict[str, Any]:
    """Return the facts of the stack in `run_dir` (`pid`, `url`), or an empty dict."""
    try:
        said = json.loads((run_dir / "lock").read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


class RunDirectory:
    """The run directory, taken on entry, cleared on exit. Raises AlreadyRunning, or
    ConfigurationError for an unusable one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._open()
        return self

    def retake(self) -> None:
        """Make the directory anew after a loss, and lock the directory. Raises as on entry."""
        # This is the lock of the directory that is gone; nobody else can find it.
        os.close(self.lock)
        self._open()

    def _open(self) -> None:
        try:
            self.path = private_directory(self.path)
            self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The run directory {self.path} cannot be used: {error.strerror}."
            ) from error
        try:
            self._take()
        except AlreadyRunning:
            os.close(self.lock)
            raise
        self._clear()
        self.tell(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Cleared while the lock is held: another start may write its own files as soon as the lock
        # is free.
        self._clear()
        os.ftruncate(self.lock, 0)  # the file itself stays: who unlinks a lock lets two hold it
        os.close(self.lock)

    def tell(self, url: str | None) -> None:
        """Write the facts of the lock's holder, for further starts to read."""
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def write(self, name: str, text: str) -> None:
        """Replace a file of the directory, which programs and commands may be reading."""
        # Not durable: every start writes the files anew.
        replace_private(self.path / name, text, durable=False)

    def is_lost(self) -> bool:
        """Return True if the directory was removed or replaced, so that every process has lost the
        sockets.
        """
        try:
            there = (self.path / "lock").stat()
        except OSError:
            return True
        # The lock file of another inode is another run directory under the same name.
        held = os.fstat(self.lock)
        return (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino)

    def fatal(self) -> str | None:
        """Return the sentence about the death of a service, when the death ended the stack."""
        try:
            return (self.path / "fatal").read_text().strip()
        except FileNotFoundError:
            return None

    def _take(self) -> None:
        # Step 1: the lock is free, so launcher and supervisord of any stack before are gone.
        if lock_within(self.lock, 0):
            return
        # Step 2: a launcher that lives is a running stack. The file says its pid, because the lock
        # cannot.
        other = holder(self.path)
        if is_alive(other.get("pid")):
            at = f" at {other['url']}" if other.get("url") else ""
            raise AlreadyRunning(
                f"CCProxy is already running{at} (pid {other['pid']}). "
                "Stop it first, or give this one another SERVER__RUN_DIR and --port."
            )
        # Step 3: the launcher is gone and its supervisord holds the lock. It has noticed and is
        # stopping its programs; this start waits for it.
        if lock_within(self.lock, STOPPING_SECONDS):
            return
        # Step 4: a supervisord that does not come to its end is killed. Its programs end with it,
        # and the kernel frees the lock.
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.path / "supervisord.pid").read_text()), signal.SIGKILL)
        if not lock_within(self.lock, STOPPING_SECONDS):
            raise AlreadyRunning(
                f"Something still holds {self.path / 'lock'}; end it, or set another "
                "SERVER__RUN_DIR."
            )

    def _clear(self) -> None:
        for name in LEFTOVERS:
            (self.path / name).unlink(missing_ok=True)


def lock_within(lock: int, seconds: float) -> bool:
    """Lock the open file `lock`. Return False if another process still holds the lock after
    `seconds`.
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.05)
        else:
            return True


def end_orphaned_redis(path: Path) -> None:
    """Stop a server of a killed stack on the socket at `path`, and wait for the server's end.

    Asking on the socket reaches the right process whatever became of its pid; it saves its file
    before it goes.
    """
    with socket.socket(socket.AF_UNIX) as orphan, contextlib.suppress(OSError):
        orphan.settimeout(STOPPING_SECONDS)
        orphan.connect(str(path))
        # NOSAVE is about snapshots; the append-only file is flushed
        orphan.sendall(b"SHUTDOWN NOSAVE\r\n")
        # The connection ends with the process, so the end of the reading is the end of the server.
        while orphan.recv(4096):
            pass
    path.unlink(missing_ok=True)
