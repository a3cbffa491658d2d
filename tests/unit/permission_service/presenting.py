"""Short ways to present a permission request and to look at what a person sees."""

from __future__ import annotations

import dataclasses
from typing import Any

from permission_service.presentation import present
from shared.bus.channels import PermissionRequest
from shared.permissions.presented import Presentation

FOLDER = "/srv/work"


def presented(tool: str, given_input: dict[str, Any], **fields: Any) -> Presentation:
    known = {"caller": "alice", "session_id": "s1", "working_directory": FOLDER}
    suggestion = fields.pop("suggestion", None)
    return present(PermissionRequest("a", tool, given_input, **known | fields), suggestion)


def texts(shown: Any) -> list[str]:
    """Every text in a presentation."""
    if isinstance(shown, str):
        return [shown]
    if isinstance(shown, dict):
        return [text for value in shown.values() for text in texts(value)]
    if isinstance(shown, list):
        return [text for value in shown for text in texts(value)]
    return []


def all_text(shown: Presentation) -> list[str]:
    return texts(dataclasses.asdict(shown))


def blocks(shown: Presentation) -> list[tuple[str, str]]:
    return [(block.label, block.text) for block in shown.blocks]


def diff(shown: Presentation) -> list[str]:
    return [row.mark + row.text for block in shown.blocks for row in block.rows]
