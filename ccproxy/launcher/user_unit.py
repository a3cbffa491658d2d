"""The stack as a systemd service of its user, started at login (or at boot, when the user lingers).

The unit remembers what this shell knows and systemd does not: the directory, PATH (where `claude`
is), CONFIG_FILE. Anything else belongs into `.env` or the TOML file, which the service reads like
any other start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ccproxy.cli.exits import CONFIGURATION, TRY_LATER
from ccproxy.launcher.background import NoServices, Outcome, Run, remembered
from shared.runtime.errors import CCProxyError

UNIT = "ccproxy.service"
TEXT = """\
[Unit]
Description=CCProxy: your own Claude and ChatGPT subscriptions at one address
After=network.target

[Service]
Type=exec
ExecStart={program} serve
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={directory}
{environment}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus={hopeless}
KillMode=mixed
TimeoutStopSec=60
LimitNOFILE=8192:524288
UMask=0077

[Install]
WantedBy=default.target
"""


class UserUnit:
    """The unit of the user whose environment is `environ`; `program` is the `ccproxy` to start."""

    def __init__(self, program: str, environ: Mapping[str, str], home: Path, run: Run) -> None:
        self.path = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user" / UNIT
        self._program = program
        self._environ = environ
        self._run = run

    def install(self, directory: Path, *, start: bool) -> None:
        """Write the unit and enable it. Raises NoServices, before anything is written, without a
        user's systemd.
        """
        self._systemctl("daemon-reload")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text(directory))
        self._systemctl("daemon-reload")
        self._systemctl("enable", *(["--now"] if start else []), UNIT)

    def uninstall(self) -> None:
        self._systemctl("disable", "--now", UNIT)
        self.path.unlink()
        self._systemctl("daemon-reload")

    def state(self) -> tuple[str, bool]:
        outcome = self._ask("is-active", UNIT)
        return outcome.output.strip() or outcome.words, outcome.code == 0

    def advice(self) -> list[str]:
        return [
            "It runs while you are logged in; `loginctl enable-linger` keeps it up from boot on.",
            f"Its log: journalctl --user -u {UNIT} -f",
        ]

    def text(self, directory: Path) -> str:
        """Return the unit for the stack in `directory`."""
        variables = [
            f"Environment={quoted(f'{name}={value}')}"
            for name, value in remembered(self._environ).items()
        ]
        return TEXT.format(
            program=quoted(self._program).replace("$", "$$"),
            directory=str(directory).replace("%", "%%"),
            environment="\n".join(variables),
            hopeless=f"{TRY_LATER} {CONFIGURATION}",
        )

    def _systemctl(self, *arguments: str) -> None:
        """Run systemctl. Raises CCProxyError with systemd's words."""
        outcome = self._ask(*arguments)
        if outcome.code:
            raise CCProxyError(f"systemctl --user {' '.join(arguments)}: {outcome.words}")

    def _ask(self, *arguments: str) -> Outcome:
        """Return systemctl's answer. Raises NoServices in a session without a user's systemd."""
        outcome = self._run("systemctl", "--user", *arguments)
        if outcome.code and is_without_bus(outcome.errors):
            raise NoServices(
                f"systemd does not run for this user in this session ({outcome.words}). Log in as "
                "the user itself (by ssh or at the machine, not through su or sudo), or have an "
                "administrator run `loginctl enable-linger USER`; without systemd start `ccproxy "
                "serve` from whatever starts your services."
            )
        return outcome


def is_without_bus(errors: str) -> bool:
    """Return True if systemctl's words on stderr say that there is no bus of the user to speak
    through.
    """
    text = errors.lower()
    unreachable = "failed to connect" in text and " bus" in text
    return unreachable or "not been booted with systemd" in text or "xdg_runtime_dir" in text


def quoted(text: str) -> str:
    """Return `text` quoted for systemd.syntax(7)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
