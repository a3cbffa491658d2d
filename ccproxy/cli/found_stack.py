"""The stack that a command speaks to: the one named by `--url`, else the one of the settings in
force here, else the only one that runs on this machine.

With several stacks and no choice a command names them and does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ccproxy.cli.exits import USAGE
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.launcher.listening import local_url
from ccproxy.launcher.living import is_alive
from ccproxy.launcher.rundir import holder
from ccproxy.launcher.stacks import RunningStack, running_stacks
from shared.runtime.errors import CCProxyError
from shared.settings.files import origins_here, own_file
from shared.settings.sources import DEFAULT
from shared.settings.tree import Settings

PLACES = (("server", "run_dir"), ("server", "port"), ("server", "host"))


class SeveralStacks(CCProxyError):
    """Several stacks are running."""

    exit_code = USAGE


@dataclass(frozen=True, slots=True)
class FoundStack:
    """A stack as a command reaches it. `found_by` tells the way; `running` is the stack's entry in
    the registry, None for a stack known by its address alone.
    """

    url: str
    token: str
    found_by: Literal["--url", "run directory", "registry", "settings"]
    pid: int | None = None
    running: RunningStack | None = None
    others: tuple[RunningStack, ...] = ()

    @property
    def run_dir(self) -> Path | None:
        return Path(self.running.run_dir) if self.running else None

    @property
    def is_elsewhere(self) -> bool:
        """Return True for an address that no stack of this machine and user has."""
        return self.found_by == "--url" and self.running is None

    def facts(self) -> dict[str, Any]:
        """Return the stack's facts for programs, without secrets."""
        known = {"url": self.url, "pid": self.pid, "kind": self.running and self.running.kind}
        return {name: value for name, value in known.items() if value is not None}


def find_stack(settings: Settings, stacks: Iterable[RunningStack] | None = None) -> FoundStack:
    """Return the stack to speak to; nothing is asked of it yet. `stacks` are the running stacks,
    unset: those of this machine. Raises SeveralStacks.
    """
    running = list(running_stacks() if stacks is None else stacks)
    given = os.environ.get(CHOSEN_TOKEN, "")
    # Step 1: an address on the command line. The stack's own token goes to that stack only.
    if url := os.environ.get(CHOSEN_URL, "").rstrip("/"):
        known = next((stack for stack in running if stack.url == url), None)
        return _found("--url", url, given, settings, known, running)
    # Step 2: the stack that was started with the settings in force here.
    run_dir = os.path.realpath(settings.server.run_dir)
    own = next((stack for stack in running if os.path.realpath(stack.run_dir) == run_dir), None)
    held = holder(settings.server.run_dir)
    if own is not None or (held.get("url") and is_alive(held.get("pid"))):
        address = own.url if own else str(held["url"])
        return _found("run directory", address, given, settings, own, running, held.get("pid"))
    # Step 3: any other stack of this machine, unless this folder has a stack of its own settings.
    if running and not names_a_stack():
        if len(running) > 1:
            raise SeveralStacks(
                f"Several stacks are running: {listing(running)}. Choose one with --url."
            )
        return _found("registry", running[0].url, given, settings, running[0], running)
    # Step 4: the address of the settings, at which a container may listen.
    url = local_url(settings.server.host, settings.server.port)
    return _found("settings", url, given, settings, None, running)


def _found(
    found_by: Literal["--url", "run directory", "registry", "settings"],
    url: str,
    given: str,
    settings: Settings,
    known: RunningStack | None,
    running: list[RunningStack],
    pid: int | None = None,
) -> FoundStack:
    configured = settings.security.auth_token
    token = given or (known.token if known else "")
    if not token and configured is not None:
        token = configured.get_secret_value()
    others = tuple(stack for stack in running if stack != known)
    return FoundStack(url, token, found_by, known.pid if known else pid, known, others)


def names_a_stack() -> bool:
    """Return True if the environment or a file of the working folder says where a stack is."""
    origins = origins_here()
    sources = {origins.of(path) for path in PLACES}
    own = str(own_file())
    return any(source != DEFAULT and source.rpartition(":")[0] != own for source in sources)


def listing(stacks: Iterable[RunningStack]) -> str:
    """Return the kind, the address and the process id of each stack, for a sentence."""
    return ", ".join(f"{stack.kind} at {stack.url} (pid {stack.pid})" for stack in stacks)
