"""`ccproxy service`: the stack in the background, kept up by systemd (Linux) or launchd (macOS) for
its user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ccproxy.cli.command_group import command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, NOT_RUNNING
from ccproxy.cli.output import show_line
from ccproxy.launcher.background import BackgroundService, NoServices, Run, run_program
from ccproxy.launcher.launch_agent import LaunchAgent
from ccproxy.launcher.programs import find_script
from ccproxy.launcher.user_unit import UserUnit
from shared.settings.tree import load_settings, refuse_open_bind

app = command_group("service")


def service_for(platform: str, environ: Mapping[str, str], run: Run) -> BackgroundService:
    """Return the background service of `platform` for the current user. Raises NoServices
    elsewhere.
    """
    program = find_script("ccproxy")[0]
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return LaunchAgent(program, environ, home, run, uid=os.getuid())
    if platform == "linux":
        return UserUnit(program, environ, home, run)
    raise NoServices


@app.callback()
def service_group(context: typer.Context) -> None:
    """Start the stack at login with systemd or launchd."""
    context.obj = context.obj or service_for(sys.platform, os.environ, run_program)


@app.command()
def install(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", help="Working folder of the service (default: this folder)."),
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it at once.")] = True,
) -> None:
    """Write the service, start it now and at every login. Run the command again after a change of
    PATH or place.
    """
    refuse_open_bind(load_settings())
    installed: BackgroundService = context.obj
    installed.install((directory or Path.cwd()).resolve(), start=start)
    say(f"Written to {installed.path}.")
    for sentence in installed.advice():
        say(sentence)


@app.command()
def uninstall(context: typer.Context) -> None:
    """Stop the service and remove it."""
    installed: BackgroundService = context.obj
    if not installed.path.exists():
        say(f"{installed.path} is not there; nothing to do.")
        return
    installed.uninstall()
    say(f"Removed {installed.path}.")


@app.command()
def status(context: typer.Context) -> None:
    """Show the service's state as the system reports it."""
    installed: BackgroundService = context.obj
    if not installed.path.exists():
        say("It is not installed; `ccproxy service install` does that.")
        raise typer.Exit(NOT_RUNNING)
    state, runs = installed.state()
    show_line(state)
    raise typer.Exit(DONE if runs else NOT_RUNNING)
