"""`ccproxy service`: the stack as a systemd service of its user, started at login (or at boot, when the user lingers).

The unit remembers what this shell knows and systemd does not: the directory, PATH (where `claude` is), CONFIG_FILE.
Anything else belongs into `.env` or the TOML file, which the service reads like any other start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from ccproxy.console import say
from ccproxy.exits import CONFIGURATION, DONE, NOT_RUNNING, TRY_LATER
from ccproxy.output import show_line
from ccproxy.programs import find_script
from shared.errors import CCProxyError
from shared.settings import load_settings, refuse_open_bind

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
REMEMBERED = ("PATH", "CONFIG_FILE", "CLAUDE_CONFIG_DIR", "CODEX_HOME")

app = typer.Typer(name="service", no_args_is_help=True, add_completion=False, rich_markup_mode=None)


class NoSystemd(CCProxyError):
    """There is no systemd for users here; start `ccproxy serve` from whatever starts your services."""


@app.callback()
def service() -> None:
    """Have the stack started and kept up by systemd, as your own user."""


@app.command()
def install(
    directory: Annotated[Path | None, typer.Option("--directory", help="Where it runs; else here.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it at once.")] = True,
) -> None:
    """Write the unit, start it now and at every login. Run the command again after a change of PATH
    or place.
    """
    refuse_open_bind(load_settings())
    path = unit_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(unit_text((directory or Path.cwd()).resolve()))
    say(f"Written to {path}.")
    systemctl("daemon-reload")
    systemctl("enable", *(["--now"] if start else []), UNIT)
    say("It runs while you are logged in; `loginctl enable-linger` keeps it up from boot on.")
    say(f"Its log: journalctl --user -u {UNIT} -f")


@app.command()
def uninstall() -> None:
    """Stop the unit and remove it."""
    path = unit_path()
    if not path.exists():
        say(f"{path} is not there; nothing to do.")
        return
    systemctl("disable", "--now", UNIT)
    path.unlink()
    systemctl("daemon-reload")
    say(f"Removed {path}.")


@app.command()
def status() -> None:
    """Show systemd's view of the unit."""
    if not unit_path().exists():
        say("It is not installed; `ccproxy service install` does that.")
        raise typer.Exit(NOT_RUNNING)
    said = ask_systemctl("is-active", UNIT)
    show_line(said.stdout.strip() or said.stderr.strip())
    raise typer.Exit(DONE if said.returncode == 0 else NOT_RUNNING)


def unit_path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user" / UNIT


def unit_text(directory: Path) -> str:
    remembered = [f"Environment={quoted(f'{name}={os.environ[name]}')}" for name in REMEMBERED if os.environ.get(name)]
    return TEXT.format(
        program=quoted(find_script("ccproxy")[0]).replace("$", "$$"),
        directory=str(directory).replace("%", "%%"),
        environment="\n".join(remembered),
        hopeless=f"{TRY_LATER} {CONFIGURATION}",
    )


def quoted(text: str) -> str:
    """Return `text` quoted for systemd.syntax(7)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def systemctl(*arguments: str) -> None:
    """Run systemctl. Raises NoSystemd, or CCProxyError with systemd's words."""
    said = ask_systemctl(*arguments)
    if said.returncode:
        raise CCProxyError(f"systemctl --user {' '.join(arguments)}: {said.stderr.strip() or said.returncode}")


def ask_systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemctl")
    if program is None:
        raise NoSystemd
    return subprocess.run([program, "--user", *arguments], capture_output=True, text=True, check=False)  # noqa: S603
