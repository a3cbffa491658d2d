"""`ccproxy worker`: this machine as a worker of a stack on another one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ccproxy.cli.command_group import command_group
from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.join_token import LONGEST_TOKEN, TokenUnreadable, read_join_token
from ccproxy.cli.joined_worker import join_stack, leave_stack, run_joined_worker

app = command_group("worker")


@app.callback()
def worker_group() -> None:
    """Make this machine a worker of a stack on another one."""


@app.command("join")
def join_here(
    token: Annotated[
        str | None,
        typer.Argument(help="The join token; - reads it from the input.", show_default=False),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file that holds it.")
    ] = None,
    start: Annotated[bool, typer.Option("--run/--no-run", help="Run the worker at once.")] = True,
) -> None:
    """Join with a token of `ccproxy workers invite`, and run.

    Other users of this machine can read a token on the command line: prefer - and the input.
    """
    if (token is None) == (token_file is None):
        raise typer.BadParameter("give a join token, - or --token-file.")
    access = join_stack(read_join_token(token_text(token, token_file)))
    say(f"Joined as the worker {access.name}; `ccproxy worker run` starts it again.")
    if start:
        raise typer.Exit(run_joined_worker())


@app.command("run")
def run_worker_here() -> None:
    """Run the worker of this machine until Ctrl-C or SIGTERM.

    It finishes its turns first, for 75 seconds at most; a second signal ends it at once.
    """
    raise typer.Exit(run_joined_worker())


@app.command("leave")
def leave_here() -> None:
    """Let the worker finish its turns, and forget its access."""
    name = leave_stack() or "NAME"
    say(
        "This machine has left. On the machine of the stack "
        f"`ccproxy workers revoke {name}` takes its access to Redis."
    )


def token_text(token: str | None, token_file: Path | None) -> str:
    """Return the text of a join token from the command line, the input or a file. Raises
    TokenUnreadable.
    """
    if token_file is not None:
        try:
            return token_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise TokenUnreadable(f"{token_file} cannot be read: {reason}.") from error
    if token == "-":
        if sys.stdin.isatty():
            say_to_a_person("Paste the join token, and press Enter.")
        return sys.stdin.readline(LONGEST_TOKEN + 1)
    return token or ""
