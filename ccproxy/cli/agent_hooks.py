"""The hooks that `ccproxy hooks install` gives an agent, and their place in the agent's own
settings. Pure.

Claude Code posts to an address by itself, so its settings hold the address and the token. Codex
runs a command, `ccproxy hook codex`, which reads both from a file of ours.

Invariant: only our own entries are added, replaced or removed. An entry is ours by its address or
its command, whatever else it holds, and all other entries keep their order.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from shared.settings.problems import ConfigurationError

PERMISSION_PATH = "/hooks/permission-request"
NOTICE_PATH = "/hooks/notice"
TOKEN_HEADER = "x-api-key"
MACHINE_HEADER = "x-ccproxy-machine"
AGENT_HEADER = "x-ccproxy-agent"
# Longer than anybody is away; the permission service ends a request before it. Without it Claude
# Code and Codex give up after ten minutes.
PERMISSION_SECONDS = 86_400
NOTICE_SECONDS = 10
HOOKS = "hooks"  # the table of hooks, and the list of one group's hooks

AgentName = Literal["claude", "codex"]
Settings = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class HookAccess:
    """The gateway that an agent's hooks ask. `token` is empty for a stack without tokens; `machine`
    is the name of the agent's machine.
    """

    url: str
    token: str
    machine: str


def claude_hooks(access: HookAccess) -> dict[str, dict[str, Any]]:
    """Return the hook of each event for Claude Code."""
    headers = {AGENT_HEADER: "claude", MACHINE_HEADER: access.machine}
    if access.token:
        headers[TOKEN_HEADER] = access.token

    def post(path: str, seconds: int) -> dict[str, Any]:
        return {"type": "http", "url": access.url + path, "headers": headers, "timeout": seconds}

    news = post(NOTICE_PATH, NOTICE_SECONDS)
    return {
        "PermissionRequest": post(PERMISSION_PATH, PERMISSION_SECONDS),
        "Notification": news,
        "Stop": news,
        # Tells that a call was allowed in the terminal: the hook's connection stays open then.
        "PostToolBatch": news,
    }


def codex_hooks(program: Path) -> dict[str, dict[str, Any]]:
    """Return the hook of each event for Codex. `program` is our command line."""
    command = shlex.join([str(program), "hook", "codex"])
    return {
        "PermissionRequest": {
            "type": "command",
            "command": command,
            "timeout": PERMISSION_SECONDS,
            "statusMessage": "Asking ccproxy",
        },
        "Stop": {"type": "command", "command": command, "timeout": NOTICE_SECONDS},
    }


def add_hooks(settings: Settings, ours: dict[str, dict[str, Any]]) -> None:
    """Put the hooks `ours` into `settings`, in place of earlier ones of ours. Raises
    ConfigurationError for hooks of another shape than the agents take.
    """
    remove_hooks(settings)
    table = settings.setdefault(HOOKS, {})
    for event, hook in ours.items():
        groups = table.setdefault(event, [])
        groups.append({HOOKS: [hook]})


def remove_hooks(settings: Settings) -> bool:
    """Remove our hooks from `settings`, and what is empty without them. Return True if there were
    any. Raises ConfigurationError as `add_hooks`.
    """
    table = _table(settings)
    events = {event for event, *_ in our_hooks(settings)}
    for event in events:
        groups = _groups(table, event)
        for group in list(groups):
            left = [hook for hook in _hooks(group) if not is_ours(hook)]
            if len(left) == len(_hooks(group)):
                continue
            if left:
                group[HOOKS] = left
            else:
                groups.remove(group)
        if not groups:
            del table[event]
    if events and not table:
        del settings[HOOKS]
    return bool(events)


def our_hooks(settings: Settings) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """Yield our hooks in `settings`: the event, the places of the group and of the hook in it, and
    the hook. Raises ConfigurationError as `add_hooks`.
    """
    table = _table(settings)
    for event in table:
        for place, group in enumerate(_groups(table, event)):
            for inner, hook in enumerate(_hooks(group)):
                if is_ours(hook):
                    yield event, place, inner, hook


def is_ours(hook: Any) -> bool:
    """Return True for a hook that an installation of ours has made."""
    if not isinstance(hook, MutableMapping):
        return False
    if hook.get("type") == "http":
        return urlsplit(str(hook.get("url"))).path.endswith((PERMISSION_PATH, NOTICE_PATH))
    try:
        words = shlex.split(str(hook.get("command")))
    except ValueError:
        return False
    return len(words) == 3 and Path(words[0]).name == "ccproxy" and words[1] == "hook"


def access_in(settings: Settings) -> HookAccess | None:
    """Return the access in Claude Code's settings; None without a permission hook of ours."""
    for event, _, _, hook in our_hooks(settings):
        url = str(hook.get("url") or "")
        headers = hook.get("headers")
        if event == "PermissionRequest" and url.endswith(PERMISSION_PATH):
            given = headers if isinstance(headers, MutableMapping) else {}
            return HookAccess(
                url.removesuffix(PERMISSION_PATH),
                str(given.get(TOKEN_HEADER, "")),
                str(given.get(MACHINE_HEADER, "")),
            )
    return None


def _table(settings: Settings) -> Settings:
    table = settings.get(HOOKS, {})
    if not isinstance(table, MutableMapping):
        raise ConfigurationError("`hooks` is not a table of events.")
    return table


def _groups(table: Settings, event: str) -> list[Any]:
    # Codex keeps its trust in hooks in the same table of its TOML file.
    groups = table[event]
    if isinstance(groups, MutableMapping):
        return []
    if not isinstance(groups, list):
        raise ConfigurationError(f"`hooks.{event}` is not a list.")
    return groups


def _hooks(group: Any) -> list[Any]:
    hooks = group.get(HOOKS) if isinstance(group, MutableMapping) else None
    return hooks if isinstance(hooks, list) else []
