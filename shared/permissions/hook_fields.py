"""The fields of a hook that both `ccproxy hook` and the gateway read, and the one that the command
adds.

The command runs at every hook of an agent, so this module imports little.
"""

from __future__ import annotations

from typing import Any

from shared.permissions.reach import reach_of

PERMISSION_EVENT = "PermissionRequest"
# The field that `ccproxy hook` adds to an agent's own fields.
ADDED = "ccproxy"


def tool_input(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the input of the tool. An input that is no object becomes the field `input`."""
    given = fields.get("tool_input")
    return given if isinstance(given, dict) else {"input": given}


def links_of(tool_name: str, given: dict[str, Any], folder: str) -> dict[str, str]:
    """Return the paths of a tool call that lead through links, with the real paths. The function
    looks at the disk, and is only right on the machine of the tool.
    """
    try:
        paths = reach_of(tool_name, given, folder).paths
    except (OSError, ValueError):
        return {}
    return {path.asked: path.real for path in paths if path.real != path.asked}
