"""The registry of running stacks: one file per stack in the owner's state directory, so that every
command finds the stacks of this machine, wherever they were started.

A file counts while the launcher that wrote it lives: the process has the pid and the start time in
the file. A file of a killed launcher is removed by its next reader.

The file also holds the stack's own token, for the owner's commands. The token is made at the start
and worth nothing after the end; the file has mode 0600, and services know only a SHA-256 of the
token.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ccproxy.launcher.living import is_alive
from shared.runtime.files import replace_private
from shared.settings.places import state_dir

PS_SECONDS = 5.0
START_TIME = 19  # of the fields after the program's name in /proc/PID/stat, see proc_pid_stat(5)

Kind = Literal["serve", "demo"]


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack of this machine. `pid` and `started` identify the launcher; `tokens_file` is the file
    of named tokens for the gateways.
    """

    url: str
    pid: int
    started: str
    run_dir: str
    kind: Kind
    token: str
    tokens_file: str

    @property
    def is_running(self) -> bool:
        """Return True while the launcher of the stack lives."""
        return lives_since(self.pid, self.started)


def registry_dir() -> Path:
    """Return the folder of the registry."""
    return state_dir() / "stacks"


@contextlib.contextmanager
def keep_listed(stack: RunningStack, folder: Path) -> Iterator[OSError | None]:
    """Keep `stack` in the registry at `folder` while the context is open.

    Yields the error of a folder that cannot be written. The stack runs without an entry then.
    """
    path = folder / f"{stack.pid}.json"
    failure = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(path, json.dumps(asdict(stack), indent=1))
    except OSError as error:
        failure = error
    try:
        yield failure
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def running_stacks(folder: Path | None = None) -> list[RunningStack]:
    """Return the running stacks in the registry, the latest last, and remove the files of ended
    stacks. A file that cannot be read is left out and stays.
    """
    found = []
    for path in sorted((folder or registry_dir()).glob("*.json"), key=_modified):
        stack = _read(path)
        if stack is None:
            continue
        if stack.is_running:
            found.append(stack)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return found


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> RunningStack | None:
    """Return the stack in the file at `path`; None for a file of another form."""
    try:
        facts: Any = json.loads(path.read_text())
        stack = RunningStack(**{name: facts[name] for name in RunningStack.__slots__})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = (stack.url, stack.started, stack.run_dir, stack.kind, stack.token, stack.tokens_file)
    return stack if all(isinstance(text, str) for text in texts) else None


def lives_since(pid: int, started: str) -> bool:
    """Return True if the process `pid` lives and has the start time `started`."""
    return is_alive(pid) and start_time(pid) == started


def start_time(pid: int) -> str:
    """Return the start time of the process `pid`, as a text to compare; empty if unknown."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _start_time_of_ps(pid)
    return facts.rpartition(") ")[2].split()[START_TIME]


def _start_time_of_ps(pid: int) -> str:
    """Return the start time on a system without /proc, such as macOS."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        told = subprocess.run(  # noqa: S603 - no shell, and a number for an argument
            command, capture_output=True, text=True, timeout=PS_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
