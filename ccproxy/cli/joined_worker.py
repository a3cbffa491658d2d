"""The worker of a machine that has joined a stack: its stored access, and its process.

The access lies in a directory of its own in the owner's state directory, mode 0600. A lock there
keeps one worker with one access. Invariant: the invitation is taken only after everything on this
machine that could fail has been tried, because it can be taken once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, KILLED
from ccproxy.cli.join_token import JoinToken, with_login
from ccproxy.launcher.programs import SCRIPTS, find_script
from ccproxy.launcher.redis_server import private_directory
from ccproxy.launcher.rundir import holder, lock_within
from shared.bus.worker_access import WORKER_USER, accept_invitation, check_access
from shared.runtime.errors import CCProxyError
from shared.runtime.files import replace_private
from shared.runtime.process import DRAINED_EXIT, end_later
from shared.runtime.times import minute_in_utc
from shared.settings.places import state_dir

# For the turns in hand after SIGTERM; systemd waits 90 seconds before it kills.
DRAIN_SECONDS = 75.0
ENDING_SECONDS = 15.0  # for the end of a worker whose turns are done or were ended


class JoiningRefused(CCProxyError):
    """This machine cannot join, run or leave as asked."""


class StoredAccess(BaseModel):
    """The access of this machine's worker, as stored. `ca_file` is empty without an authority of
    the owner's.
    """

    name: str
    address: str
    user: str
    password: str = Field(repr=False)
    ca_file: str = ""

    def url(self) -> str:
        """Return the address of Redis as REDIS__URL."""
        parameters = f"?ssl_ca_certs={quote(self.ca_file)}" if self.ca_file else ""
        return with_login(self.address, self.user, self.password, parameters)


def worker_dir() -> Path:
    """Return the directory of the access."""
    return state_dir() / "worker"


def join_stack(token: JoinToken) -> StoredAccess:
    """Take the invitation of `token` and store the access. Raises JoiningRefused, and AccessRefused
    for what Redis refuses.
    """
    if time.time() >= token.expires_at:
        raise JoiningRefused(
            f"This join token has expired, at {minute_in_utc(token.expires_at)}; make another one "
            "with `ccproxy workers invite`."
        )
    if (known := stored_access()) is not None:
        raise JoiningRefused(
            f"This machine has joined as the worker {known.name}; `ccproxy worker leave` ends that."
        )
    ca_file = prepared_authority(token.ca)
    joining_url = with_login(token.address, token.user, token.password)
    password = asyncio.run(accept_invitation(joining_url, token.name, ca=token.ca or None))
    access = StoredAccess(
        name=token.name,
        address=token.address,
        user=WORKER_USER + token.name,
        password=password,
        ca_file=ca_file,
    )
    replace_private(worker_dir() / "access.json", access.model_dump_json())
    asyncio.run(check_access(access.url()))
    return access


def prepared_authority(ca: str) -> str:
    """Store the certificate `ca` and return its path, empty without one. Raises JoiningRefused if
    this machine can store nothing.
    """
    path = worker_dir() / "ca.pem"
    try:
        private_directory(worker_dir())
        replace_private(path, ca)
    except OSError as error:
        raise JoiningRefused(f"{path} cannot be written: {error.strerror}.") from error
    return str(path) if ca else ""


def stored_access() -> StoredAccess | None:
    """Return the access of this machine; None if it has not joined. Raises JoiningRefused."""
    path = worker_dir() / "access.json"
    try:
        return StoredAccess.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise JoiningRefused(
            f"{path} cannot be used; `ccproxy worker leave` removes it."
        ) from error


def required_access() -> StoredAccess:
    """Return the access of this machine. Raises JoiningRefused if it has none."""
    if (found := stored_access()) is None:
        raise JoiningRefused(
            "This machine has joined no stack; `ccproxy worker join -` reads a join token."
        )
    return found


def run_joined_worker(command: list[str] | None = None) -> int:
    """Run the worker until it is drained, and return the exit code. `command` replaces the
    installed worker. Raises JoiningRefused.
    """
    access = required_access()
    environment = os.environ | {"REDIS__URL": access.url(), "CCPROXY_INSTANCE": access.name}
    with sole_run():
        say(f"This machine works as {access.name}; Ctrl-C or SIGTERM lets it finish its turns.")
        return run_until_drained(
            command or find_script(SCRIPTS["sdk_worker"]), environment, DRAIN_SECONDS
        )


@contextlib.contextmanager
def sole_run() -> Iterator[None]:
    """Hold the lock of this machine's worker. Raises JoiningRefused."""
    lock = os.open(private_directory(worker_dir()) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock_within(lock, 0):
            raise JoiningRefused(
                f"The worker of this machine runs already (pid {holder(worker_dir()).get('pid')})."
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield
    finally:
        os.close(lock)


def run_until_drained(command: list[str], environment: dict[str, str], drain_seconds: float) -> int:
    """Run the worker `command` and return its exit code. SIGTERM or Ctrl-C lets it finish its turns
    for `drain_seconds`; a second one, or that time, ends it with its turns.
    """
    running: subprocess.Popen[bytes] | None = None
    drains = False

    def end_turns() -> None:
        if running is not None and running.poll() is None:
            running.terminate()

    def ask_to_drain() -> None:
        if running is not None:
            running.send_signal(signal.SIGUSR1)
            end_later(drain_seconds, end_turns)

    def heard(number: int, frame: FrameType | None) -> None:
        nonlocal drains
        del number, frame
        if drains:
            end_turns()
        else:
            drains = True
            ask_to_drain()

    former = {each: signal.signal(each, heard) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        # A session of its own: Ctrl-C in a terminal would reach the worker too, and end its turns.
        # Supervised: the worker ends with this process, however that dies.
        running = subprocess.Popen(  # noqa: S603 - a program of this installation
            command, env=environment | {"CCPROXY_SUPERVISED": "1"}, start_new_session=True
        )
        # A signal may have come before there was a process to tell.
        if drains:
            ask_to_drain()
        code = running.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    # SIGUSR1 ends a worker that has not begun; nothing is lost then.
    if drains and code in {DRAINED_EXIT, -signal.SIGUSR1}:
        return DONE
    return code if code >= 0 else KILLED - code


def leave_stack() -> str:
    """Drain the worker of this machine, forget its access, and return its name. Raises
    JoiningRefused.
    """
    directory = worker_dir()
    try:
        name = required_access().name
    except JoiningRefused:
        if not (directory / "access.json").exists():
            raise
        name = ""
    lock = os.open(private_directory(directory) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock_within(lock, 0):
            # The lock is held, so the process in the file lives.
            pid = int(holder(directory)["pid"])
            say(f"The worker (pid {pid}) finishes its turns, for {DRAIN_SECONDS:.0f} s at most.")
            os.kill(pid, signal.SIGTERM)
            if not lock_within(lock, DRAIN_SECONDS + ENDING_SECONDS):
                raise JoiningRefused(f"The worker (pid {pid}) does not end; end it, and try again.")
        for each in ("access.json", "ca.pem"):
            (directory / each).unlink(missing_ok=True)
    finally:
        os.close(lock)
    return name
