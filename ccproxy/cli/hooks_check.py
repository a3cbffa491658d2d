"""The check of an agent's hooks, end to end: the agent's settings, the gateway, the token, and the
permission service behind it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx

from ccproxy.cli.agent_hooks import (
    AGENT_HEADER,
    HOOKS,
    TOKEN_HEADER,
    AgentName,
    HookAccess,
    access_in,
    our_hooks,
)
from ccproxy.cli.agent_settings import (
    STATE,
    SettingsFile,
    settings_file,
)
from ccproxy.cli.checks import Finding
from ccproxy.cli.gateway import error_of_answer
from ccproxy.cli.hook_access import read_access
from shared.accounts.codex import codex_home
from shared.settings.problems import ConfigurationError

TIMEOUT = httpx.Timeout(10.0, connect=3.0)
# Codex spells an event so in the names of what it trusts.
CODEX_EVENTS = {"PermissionRequest": "permission_request", "Stop": "stop"}


@dataclass(frozen=True, slots=True)
class Installed:
    """The hooks of an agent as they are installed in `file`. `access` is None when they cannot
    reach anything; `untrusted` are events whose hooks Codex does not run yet.
    """

    file: SettingsFile
    access: HookAccess | None
    untrusted: list[str]


def installed_hooks(agent: AgentName, project: Path | None = None) -> Installed | None:
    """Return the hooks of `agent`; None without hooks of ours. Raises ConfigurationError."""
    file = settings_file(agent, project)
    settings = file.read()
    ours = list(our_hooks(settings))
    if not ours:
        return None
    access = access_in(settings) if agent == "claude" else read_access(agent)
    untrusted = []
    if agent == "codex":
        trust = codex_trust()
        untrusted = [
            event
            for event, group, hook, _ in ours
            if f"{file.path}:{CODEX_EVENTS.get(event, event)}:{group}:{hook}" not in trust
        ]
    return Installed(file, access, untrusted)


def codex_trust() -> Mapping[str, Any]:
    """Return Codex's trust in hooks by file, event and places. Raises ConfigurationError."""
    hooks = SettingsFile("codex", codex_home(os.environ) / "config.toml").read().get(HOOKS, {})
    state = hooks.get(STATE, {}) if isinstance(hooks, Mapping) else {}
    return state if isinstance(state, Mapping) else {}


def look_at_hooks() -> Iterator[Finding]:
    """Yield a finding for every agent with hooks of ours."""
    for agent in get_args(AgentName):
        about = f"hooks of {agent}"
        try:
            installed = installed_hooks(agent)
        except ConfigurationError as error:
            yield Finding(about, "fail", error.message, "Mend the file.")
            continue
        if installed is not None:
            yield check_hooks(about, agent, installed)


def check_hooks(
    about: str,
    agent: AgentName,
    installed: Installed,
    transport: httpx.BaseTransport | None = None,
) -> Finding:
    """Ask the gateway as the hooks would, and return the finding. `transport` replaces the
    network.
    """
    again = f"Run `ccproxy hooks install {agent}` again."
    access = installed.access
    if access is None:
        return Finding(about, "fail", f"{installed.file.path} has them, without an access.", again)
    headers = {AGENT_HEADER: agent} | ({TOKEN_HEADER: access.token} if access.token else {})
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=False, transport=transport) as client:
            answer = client.get(f"{access.url}/hooks", headers=headers)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        return Finding(
            about,
            "warn",
            f"{access.url} does not answer ({why}); the agent asks in its own terminal.",
            "Start the stack.",
        )
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Finding(about, "fail", f"{access.url} does not know their token.", again)
    if answer.is_error:
        is_refused = answer.status_code == httpx.codes.FORBIDDEN
        fix = again if is_refused else "See `ccproxy status`."
        return Finding(about, "fail", error_of_answer(answer), fix)
    if installed.untrusted:
        return Finding(
            about,
            "warn",
            f"Codex does not run them yet ({', '.join(installed.untrusted)}).",
            "Start `codex` once and trust its hooks, or review them with /hooks.",
        )
    return Finding(about, "pass", f"{installed.file.path} asks {access.url}. {presence(answer)}")


def presence(answer: httpx.Response) -> str:
    """Return the owner's presence in the answer of `GET /hooks`, in words."""
    state = answer.json()
    if state.get("away"):
        return "You are away: hooks wait for an answer."
    if state.get("asks") == "watched":
        return "Hooks wait for an answer while somebody watches."
    return "You are at the desk: agents ask in their own terminals what no rule decides."
