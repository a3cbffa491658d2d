"""The local shell of OpenAI's models: a tool without a schema, whose arguments are the `action` of
the call item.
"""

from __future__ import annotations

import json

from shared.formats import ir
from shared.formats.ir import Json

LOCAL_SHELL = ir.Tool(
    "local_shell",
    "Runs a command on the user's machine and returns its output.",
    {
        "type": "object",
        "properties": {
            "command": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The program and its arguments.",
            },
            "working_directory": {"type": "string"},
            "timeout_ms": {"type": "integer"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["command"],
    },
    kind="local_shell",
)
"""OpenAI's models know this tool without a schema; other vendors' models need one. It is the
call item's `action`."""


def shell_action(arguments: str) -> Json:
    """Return the `action` of a local shell call: the arguments, and a constant type."""
    try:
        action = json.loads(arguments)
    except ValueError:
        action = None
    return {
        "type": "exec",
        "command": [],
        "env": {},
        **(action if isinstance(action, dict) else {"command": [arguments]}),
    }
