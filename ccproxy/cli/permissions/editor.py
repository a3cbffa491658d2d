"""Text that a person writes for a request: a line below the card, or a new input in an editor.

Invariant: text that was pasted never acts as a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPECIAL = frozenset({"up", "down", "page up", "page down", "escape", "enter", "backspace", "end"})


@dataclass(slots=True)
class Typing:
    """A line of text in the making, and the action for the end of the line."""

    label: str
    then: Callable[[str], None]
    text: str = ""


async def edit_input(given: dict[str, Any]) -> dict[str, Any]:
    """Return the input of a call as changed in the editor: the command alone where the input has
    one, else the whole input as JSON. Raises ValueError for text that is no input.
    """
    command = given.get("command")
    if isinstance(command, str):
        return given | {"command": await edit_text(command, ".sh")}
    edited = json.loads(await edit_text(json.dumps(given, indent=2, ensure_ascii=False), ".json"))
    if not isinstance(edited, dict):
        raise ValueError("an object is needed")
    return edited


def typed(text: str, keys: str) -> str:
    """Return the text after keys received together. A line end among the keys was pasted and sends
    no answer.
    """
    for key in keys:
        if key in "\x7f\b":
            text = text[:-1]
        else:
            text += key if key.isprintable() else " "
    return text


async def edit_text(text: str, suffix: str) -> str:
    """Return the text after the editor has ended; unchanged if the editor fails."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="ccproxy-edit-") as folder:
        path = Path(folder) / f"input{suffix}"
        path.write_text(text + "\n")
        try:
            process = await asyncio.create_subprocess_exec(*editor, str(path))
        except OSError:
            return text
        return path.read_text().rstrip("\n") if await process.wait() == 0 else text
