"""The access of an agent's hooks: the address they ask, and a token that can do nothing but ask.

The access lies in a file of ours beside the owner's own configuration. `ccproxy hook` reads that
file alone: the command runs in any folder, also in one whose files the owner does not trust. It
runs at every hook of an agent, so this module imports little.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ccproxy.cli.agent_hooks import AgentName, HookAccess
from shared.runtime.files import replace_private
from shared.settings.places import config_dir
from shared.settings.problems import ConfigurationError


def access_file(agent: AgentName) -> Path:
    return config_dir() / "hooks" / f"{agent}.json"


def read_access(agent: AgentName) -> HookAccess | None:
    """Return the access of the hooks of `agent`; None without one. Raises ConfigurationError."""
    path = access_file(agent)
    try:
        document = json.loads(path.read_text())
        return HookAccess(str(document["url"]), str(document["token"]), str(document["machine"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error


def write_access(agent: AgentName, access: HookAccess) -> None:
    """Raises ConfigurationError."""
    path = access_file(agent)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(path, json.dumps(asdict(access)))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
