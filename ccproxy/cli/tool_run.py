"""`ccproxy run`: a program with the stack's address and a token of its own, for as long as it runs.

Everything travels by environment variables and command-line options of this one program, so nothing
is left to be undone but the token, which is revoked at the end. The program has the terminal;
signals sent to this process reach it, and its exit code becomes ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

from ccproxy.cli.console import say
from ccproxy.cli.exits import KILLED, NOT_FOUND, USAGE
from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.owned_tokens import tokens_of_stack
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.cli.status import required_stack
from ccproxy.cli.tool_environment import PLACEHOLDER, setup_at, wrong_choice
from ccproxy.cli.tools import tool_named, tool_of_program
from ccproxy.launcher.programs import worker_description
from shared.settings.tree import Settings, load_settings

# Sent to one process; passed on to the program.
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Sent by the terminal to the program too.
OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


def run_tool(command: list[str], *, route: str | None, tool_name: str | None) -> int:
    """Run `command` against the stack in front and return its exit code.

    Raises UnknownTool, NotRunning, SeveralStacks, TokensUnusable.
    """
    if (problem := wrong_choice(route, None)) is not None:
        say(problem)
        return USAGE
    tool = tool_named(tool_name) if tool_name else tool_of_program(command[0])
    program = command[0] if shutil.which(command[0]) else program_of_workers(command[0])
    if program is None:
        say(f"{command[0]}: no such program is on PATH.")
        return NOT_FOUND
    settings = load_settings()
    stack = required_stack(settings)
    used = route or tool.route
    with token_of_run(tool.name, used, stack, settings) as token:
        setup = setup_at(stack, tool, used, token)
        # The choice of this command is not the program's own.
        before = {
            name: value
            for name, value in os.environ.items()
            if name not in {CHOSEN_URL, CHOSEN_TOKEN}
        }
        return run_in_terminal([program, *setup.options, *command[1:]], setup.environment(before))


def program_of_workers(name: str) -> str | None:
    """Return the program that the workers of /sdk start, for the name `claude`; None for any other
    name, or without the program.
    """
    if name != "claude":
        return None
    found: str | None = worker_description()["program"]
    return found


@contextlib.contextmanager
def token_of_run(tool: str, route: str, stack: FoundStack, settings: Settings) -> Iterator[str]:
    """Yield the token of one run: the one given, else one made for it, else, for a stack of another
    machine, the one of the settings.
    """
    if given := os.environ.get(CHOSEN_TOKEN):
        yield given
        return
    if stack.running is None:
        yield stack.token or PLACEHOLDER
        return
    scopes = ("use", "agent") if route == "sdk" else ("use",)
    with tokens_of_stack(stack, settings).made_for(f"run-{tool}", scopes) as token:
        yield token


def run_in_terminal(command: list[str], environment: dict[str, str]) -> int:
    """Run `command` with the terminal of this process, and return its exit code; 128 + N after
    signal N.
    """
    running: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        if running is not None and running.poll() is None:
            running.send_signal(number)

    def pass_on_unless_heard(number: int, frame: FrameType | None) -> None:
        # The terminal's own Ctrl-C reaches every process of the foreground, the program included.
        if not (sys.stdin and sys.stdin.isatty()):
            pass_on(number, frame)

    handlers = dict.fromkeys(PASSED_ON, pass_on)
    handlers |= dict.fromkeys(OF_THE_TERMINAL, pass_on_unless_heard)
    # Set before the program starts, so that no signal ends this process and leaves the token. A
    # function as handler, unlike an ignored signal, is not inherited by the program.
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        running = subprocess.Popen(command, env=environment)  # noqa: S603 - what the user typed
        code = running.wait()
    except OSError as error:
        say(f"{command[0]} cannot be started: {error.strerror}.")
        return NOT_FOUND
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return code if code >= 0 else KILLED - code
