"""The common part of the background services of Linux and macOS: running programs, remembering
facts.

`ccproxy/launcher/user_unit.py` is the systemd unit of a user, `ccproxy/launcher/launch_agent.py`
the launchd agent, `ccproxy/cli/service.py` the commands that use one of them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.runtime.errors import CCProxyError

# Variables of the shell of the installation that the system's own starts do not know.
REMEMBERED = ("PATH", "CONFIG_FILE", "CLAUDE_CONFIG_DIR", "CODEX_HOME")


class NoServices(CCProxyError):
    """Services of a user cannot be started here; start `ccproxy serve` from whatever starts your
    services.
    """


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one run of a program."""

    code: int
    output: str = ""
    errors: str = ""

    @property
    def words(self) -> str:
        return self.errors.strip() or self.output.strip() or f"exit code {self.code}"


Run = Callable[..., Outcome]


class BackgroundService(Protocol):
    """The stack as a service of a user, under the service program of the system."""

    path: Path

    def install(self, directory: Path, *, start: bool) -> None:
        """Write the file at `path`, and have the stack started now (`start`) and at every login."""

    def uninstall(self) -> None:
        """Stop the stack and remove the file at `path`."""

    def state(self) -> tuple[str, bool]:
        """Return the system's word for the state of the service, and True if the service runs."""

    def advice(self) -> list[str]:
        """Return advice for the owner after an installation, as separate sentences."""


def run_program(name: str, *arguments: str) -> Outcome:
    """Return the outcome of the program `name` of PATH. Raises NoServices when there is none."""
    program = shutil.which(name)
    if program is None:
        raise NoServices(
            f"There is no `{name}` here; start `ccproxy serve` from whatever starts your services."
        )
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def remembered(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a service of the owner needs."""
    return {name: environ[name] for name in REMEMBERED if environ.get(name)}
