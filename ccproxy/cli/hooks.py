"""`ccproxy hooks`: the hooks of Claude Code and Codex that ask this stack, installed, shown and
removed.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import typer

from ccproxy.cli.agent_hooks import (
    AgentName,
    HookAccess,
    Settings,
    add_hooks,
    claude_hooks,
    codex_hooks,
    remove_hooks,
)
from ccproxy.cli.agent_settings import (
    SettingsFile,
    secrets_in,
    settings_difference,
    settings_file,
)
from ccproxy.cli.command_group import command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED, USAGE
from ccproxy.cli.found_stack import find_stack
from ccproxy.cli.hook_access import read_access, write_access
from ccproxy.cli.hook_tokens import forget_token, known_token, make_token
from ccproxy.cli.hooks_check import check_hooks, installed_hooks
from ccproxy.cli.output import show_line, show_table
from ccproxy.cli.owned_tokens import tokens_of_stack
from ccproxy.cli.stack_options import CHOSEN_TOKEN, with_stack
from ccproxy.launcher.programs import find_script
from ccproxy.launcher.stacks import RunningStack, running_stacks
from shared.accounts.tokens import TokenFile
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings

app = command_group("hooks")

AGENTS = get_args(AgentName)
Agent = Annotated[AgentName, typer.Argument(help="claude or codex.")]
InProject = Annotated[
    bool, typer.Option("--project", help="The hooks of this folder, not those of the user.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
NEW_TOKEN = "(a new token of scope ask)"
CODEX_TRUST = (
    "Codex runs new hooks once you have trusted them: it asks at its next start, or under /hooks."
)


@app.callback()
def hooks_group() -> None:
    """Let Claude Code and Codex ask here for permission."""


@app.command("install")
@with_stack
def install_command(
    agent: Agent,
    project: InProject = False,
    yes: Yes = False,
) -> None:
    """Add the hooks to the settings of an agent.

    The change is shown first, and the old file is kept.
    """
    raise typer.Exit(install_hooks(agent, folder_of(project), yes=yes))


@app.command("uninstall")
def uninstall_command(agent: Agent, project: InProject = False, yes: Yes = False) -> None:
    """Remove the hooks from the settings of an agent."""
    raise typer.Exit(uninstall_hooks(agent, folder_of(project), yes=yes))


@app.command()
def status(project: InProject = False) -> None:
    """Show each agent's hooks, and ask the stack as they would."""
    raise typer.Exit(show_hooks(folder_of(project)))


def folder_of(project: bool) -> Path | None:
    return Path.cwd() if project else None


def install_hooks(agent: AgentName, project: Path | None, *, yes: bool) -> int:
    """Install the hooks of `agent` and return the exit code. Raises ConfigurationError,
    TokensUnusable, SeveralStacks.
    """
    file = settings_file(agent, project)
    settings = load_settings()
    stack = find_stack(settings)
    tokens = None if stack.is_elsewhere else tokens_of_stack(stack, settings).file
    given = os.environ.get(CHOSEN_TOKEN, "")
    if tokens is None and not given:
        say(f"Add --token with a token of {stack.url} that has the scope `ask`.")
        return USAGE
    before = file.text()
    document = file.read()
    token = given or (known_token(agent, tokens) if tokens else None)
    # A new token is made after the consent, so the change is shown with a stand-in.
    access = HookAccess(stack.url, token or NEW_TOKEN, socket.gethostname())
    add_hooks(document, agent_hooks(agent, access))
    changes = file.written(document) != before
    if changes and not is_wanted(file, document, yes=yes):
        return FAILED if sys.stdin.isatty() else USAGE
    if tokens is not None and token is None:
        access = replace(access, token=make_token(agent, tokens, time.time()))
        add_hooks(document, agent_hooks(agent, access))
    if changes:
        write(file, file.written(document))
    write_access(agent, access)
    say(f"{file.path} asks {access.url} now.")
    if agent == "codex":
        say(CODEX_TRUST)
    return DONE


def agent_hooks(agent: AgentName, access: HookAccess) -> dict[str, dict[str, object]]:
    """Return the hooks for the settings of `agent`."""
    if agent == "claude":
        return claude_hooks(access)
    return codex_hooks(Path(find_script("ccproxy")[0]))


def uninstall_hooks(agent: AgentName, project: Path | None, *, yes: bool) -> int:
    """Remove the hooks of `agent` and return the exit code. Raises ConfigurationError,
    TokensUnusable.
    """
    file = settings_file(agent, project)
    document = file.read()
    if not remove_hooks(document):
        say(f"{file.path} has no hooks of ccproxy.")
        return DONE
    if not is_wanted(file, document, yes=yes):
        return FAILED if sys.stdin.isatty() else USAGE
    write(file, file.written(document))
    # The hooks of the user and of other folders share the token.
    if project is None:
        revoke_hook_token(agent)
    say(f"{file.path} asks in its own terminal again.")
    return DONE


def revoke_hook_token(agent: AgentName) -> None:
    """Remove the access of the hooks of `agent`, and its token from the stack that it was made for.
    Raises ConfigurationError, TokensUnusable.
    """
    access = read_access(agent)
    tokens = tokens_of_access(access, running_stacks())
    if forget_token(agent, tokens):
        say("Its token is revoked.")
    elif access is not None and access.token:
        say(f"The token that it used stays valid at {access.url}.")


def tokens_of_access(access: HookAccess | None, running: Iterable[RunningStack]) -> TokenFile:
    """Return the named tokens of the stack that `access` leads to; those of the settings if none of
    the `running` stacks has that address.
    """
    for stack in running:
        if access is not None and stack.url == access.url:
            return TokenFile(Path(stack.tokens_file))
    return TokenFile(load_settings().security.tokens_file.expanduser())


def is_wanted(file: SettingsFile, document: Settings, *, yes: bool) -> bool:
    """Show the change of `file` to `document`, and return True if the user wants the change."""
    secrets = {*secrets_in(file.read()), *secrets_in(document)} - {NEW_TOKEN}
    for line in settings_difference(file.text(), file.written(document), file.path, secrets):
        show_line(line)
    if yes:
        return True
    if not sys.stdin.isatty():
        say("Nothing was changed: there is no terminal to ask at; add --yes to write it.")
        return False
    if not typer.confirm(f"Write {file.path}?", err=True):
        say("Nothing was changed.")
        return False
    return True


def write(file: SettingsFile, text: str) -> None:
    backup = file.replace(text, time.time())
    if backup is not None:
        say(f"The old content is kept as {backup}.")


def show_hooks(project: Path | None) -> int:
    """Show the hooks of all agents and return the exit code: 1 when installed hooks do not work."""
    rows = []
    works = True
    for agent in AGENTS:
        try:
            installed = installed_hooks(agent, project)
        except ConfigurationError as error:
            rows.append((agent, "fail", error.message))
            works = False
            continue
        if installed is None:
            rows.append((agent, "warn", f"not installed; `ccproxy hooks install {agent}` does it"))
            continue
        finding = check_hooks(agent, agent, installed)
        works = works and finding.status == "pass"
        rows.append((agent, finding.status, f"{finding.says} {finding.fix}".strip()))
    show_table(("AGENT", "", "HOOKS"), rows)
    return DONE if works else FAILED
