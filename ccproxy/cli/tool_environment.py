"""`ccproxy env`: the variables by which a tool finds the stack, for a shell or for a program.

The token is the one given, else the one that `ccproxy token add TOOL --keep` keeps for the tool.
A stack that requires no token gets a placeholder, because many tools refuse to start without a key.
The stack's own token is never handed to a tool: it may do everything.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, USAGE
from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import Unanswered, connection_to, requires_token
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.owned_tokens import TokenRefused, tokens_of_stack
from ccproxy.cli.stack_options import CHOSEN_TOKEN
from ccproxy.cli.status import required_stack
from ccproxy.cli.tools import ROUTES, TOOLS, ClientTool, ToolSetup, needs_model, set_up, tool_named
from shared.settings.tree import Settings, load_settings

PLACEHOLDER = "anything"
# Where the stack lists no models: the names that its providers have had for long.
USUAL_MODEL = {"api": "claude-sonnet-5-5", "sdk": "claude-sonnet-5-5", "codex": "gpt-5.5"}
PREFERRED = "sonnet"  # the middle of Anthropic's range, in the id of each version


def show_environment(name: str | None, *, route: str | None, shell: str | None) -> int:
    """Print the variables of the tool `name` and return the exit code; without a name, list the
    tools. Raises UnknownTool, TokenRefused, NotRunning, SeveralStacks.
    """
    if name is None:
        rows = [[tool.name, f"/{tool.route}", " ".join(tool.variables)] for tool in TOOLS]
        show_table(("TOOL", "ROUTE", "VARIABLES"), rows)
        return DONE
    tool = tool_named(name)
    if (problem := wrong_choice(route, shell)) is not None:
        say(problem)
        return USAGE
    settings = load_settings()
    stack = required_stack(settings)
    setup = setup_at(stack, tool, route or tool.route, token_for(tool, stack, settings))
    chosen = shell or usual_shell()
    if chosen == "json":
        show_json(
            {
                "variables": setup.variables,
                "unset": list(setup.unset),
                "options": setup.options,
            }
        )
        return DONE
    for line in lines_for(setup, chosen, tool.name):
        show_line(line)
    return DONE


def wrong_choice(route: str | None, shell: str | None) -> str | None:
    """Return the sentence for an unknown route or shell."""
    if route is not None and route not in ROUTES:
        return f"--route {route}: give one of {', '.join(ROUTES)}."
    if shell is not None and shell not in {*WRITERS, "json"}:
        return f"--shell {shell}: give one of {', '.join([*WRITERS, 'json'])}."
    return None


def token_for(tool: ClientTool, stack: FoundStack, settings: Settings) -> str:
    """Return the token that the tool sends. Raises TokenRefused where one is required and none is
    kept for the tool.
    """
    if given := os.environ.get(CHOSEN_TOKEN):
        return given
    kept = None if stack.is_elsewhere else tokens_of_stack(stack, settings).kept(tool.name)
    if kept is not None:
        return kept
    if not requires_token(stack):
        return PLACEHOLDER
    raise TokenRefused(
        f"The stack at {stack.url} wants a token: `ccproxy token add {tool.name} --keep` makes one "
        "for this tool, or give one with --token."
    )


def setup_at(stack: FoundStack, tool: ClientTool, route: str, token: str) -> ToolSetup:
    """Return the setup of `tool` for `stack`, with a listed model if the tool is told one."""
    model = listed_model(stack, route) if needs_model(tool, route) else ""
    return set_up(tool, stack.url, route, token, model)


def listed_model(stack: FoundStack, route: str) -> str:
    """Return a model that the stack lists on `route`, or the usual one where it lists none."""
    try:
        with connection_to(stack) as client:
            listed: Any = client.get(f"/{route}/v1/models").json()["data"]
            names = [str(model["id"]) for model in listed]
    except (Unanswered, ValueError, KeyError, TypeError):
        return USUAL_MODEL[route]
    preferred = [name for name in names if PREFERRED in name]
    return next(iter([*preferred, *names]), USUAL_MODEL[route])


def usual_shell() -> str:
    """Return the name of the user's shell: fish, or sh for all that read its syntax."""
    return "fish" if PurePath(os.environ.get("SHELL", "")).name == "fish" else "sh"


def lines_for(setup: ToolSetup, shell: str, tool: str) -> Iterator[str]:
    """Yield the lines for a shell; what a variable cannot do is a comment."""
    write, remove = WRITERS[shell]
    for name in setup.unset:
        yield remove(name)
    for name, value in setup.variables.items():
        yield write(name, value)
    if setup.note:
        yield f"# {setup.note}"
    if setup.options:
        yield f"# {tool} {shlex.join(setup.options)}"


def _fish_quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell_quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


Write = Callable[[str, str], str]
Remove = Callable[[str], str]
WRITERS: dict[str, tuple[Write, Remove]] = {
    "sh": (
        lambda name, value: f"export {name}={shlex.quote(value)}",
        lambda name: f"unset {name}",
    ),
    "fish": (
        lambda name, value: f"set -gx {name} {_fish_quoted(value)}",
        lambda name: f"set -e {name}",
    ),
    "powershell": (
        lambda name, value: f"$env:{name} = {_powershell_quoted(value)}",
        lambda name: f"Remove-Item Env:{name} -ErrorAction SilentlyContinue",
    ),
}
