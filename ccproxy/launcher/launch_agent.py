"""The stack as a launchd agent of its user on macOS, started at login.

The agent remembers what this shell knows and launchd does not: the directory, PATH (where `claude`
is), CONFIG_FILE. Anything else belongs into `.env` or the TOML file, which the agent reads like any
other start.
"""

from __future__ import annotations

import plistlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ccproxy.launcher.background import NoServices, Outcome, Run, remembered
from shared.runtime.errors import CCProxyError

LABEL = "local.ccproxy"
STOP_SECONDS = 60
RESTART_SECONDS = 60  # launchd knows no exit code that ends the attempts: it tries once a minute
OPEN_FILES = 8192
LOOK_SECONDS = 0.2  # between two questions if an agent that is being stopped is gone
NO_DOMAIN = 125  # launchctl's code for "Domain does not support specified action"


class LaunchAgent:
    """The agent of the user `uid`, whose home is `home`; `program` is the `ccproxy` to start."""

    def __init__(
        self,
        program: str,
        environ: Mapping[str, str],
        home: Path,
        run: Run,
        *,
        uid: int,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = home / "Library/LaunchAgents" / f"{LABEL}.plist"
        self._log = home / "Library/Logs/ccproxy.log"
        self._program = program
        self._environ = environ
        self._run = run
        self._domain = f"gui/{uid}"
        self._target = f"gui/{uid}/{LABEL}"
        self._wait = wait

    def install(self, directory: Path, *, start: bool) -> None:
        """Write the agent and load it. launchd reads every agent at login, so `start` False only
        writes the file.
        """
        self._unload()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(plistlib.dumps(self.content(directory)))
        # `disable` of an earlier day outlives the file, and a disabled agent is never started.
        self._launchctl("enable", self._target)
        if start:
            self._launchctl("bootstrap", self._domain, str(self.path))

    def uninstall(self) -> None:
        self._unload()
        self.path.unlink()

    def state(self) -> tuple[str, bool]:
        outcome = self._ask("print", self._target)
        if outcome.code:
            return "not loaded", False
        found = re.search(r"(?m)^\tstate = (.+)$", outcome.output)
        state = found[1].strip() if found else "loaded"
        return state, state == "running"

    def advice(self) -> list[str]:
        return ["It runs while you are logged in at the desktop.", f"Its log: tail -f {self._log}"]

    def content(self, directory: Path) -> dict[str, Any]:
        """Return the keys of launchd.plist(5) that start the stack in `directory`."""
        return {
            "Label": LABEL,
            "ProgramArguments": [self._program, "serve"],
            "WorkingDirectory": str(directory),
            "EnvironmentVariables": remembered(self._environ),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": RESTART_SECONDS,
            "ExitTimeOut": STOP_SECONDS,
            "ProcessType": "Interactive",  # launchd slows down the others
            "SoftResourceLimits": {"NumberOfFiles": OPEN_FILES},
            "Umask": 0o077,
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
        }

    def _unload(self) -> None:
        """Stop a loaded agent, and wait for the end: `bootstrap` refuses a still ending agent."""
        if self._ask("print", self._target).code:
            return
        # launchctl answers "in progress" with a failure, so the agent itself is asked below.
        refused = self._ask("bootout", self._target)
        for _ in range(round(STOP_SECONDS / LOOK_SECONDS)):
            if self._ask("print", self._target).code:
                return
            self._wait(LOOK_SECONDS)
        raise CCProxyError(
            f"launchctl bootout {self._target}: the agent does not end ({refused.words})."
        )

    def _launchctl(self, *arguments: str) -> None:
        """Run launchctl. Raises NoServices without a desktop session, else CCProxyError with
        launchd's words.
        """
        outcome = self._ask(*arguments)
        if outcome.code == NO_DOMAIN:
            raise NoServices(
                f"launchd has no desktop session of this user ({outcome.words}). Log in at the "
                "Mac's desktop and run the command there; the agent is written and starts at the "
                "next such login."
            )
        if outcome.code:
            raise CCProxyError(f"launchctl {' '.join(arguments)}: {outcome.words}")

    def _ask(self, *arguments: str) -> Outcome:
        return self._run("launchctl", *arguments)
