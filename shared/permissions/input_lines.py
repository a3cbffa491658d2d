"""Inputs of past permission requests as single lines, for every view."""

from __future__ import annotations

import json

from shared.runtime.visible_text import cut, visible


def one_line(text: str, width: int) -> str:
    """Return `text` on a single line of at most `width` characters; a cut text ends in `…`."""
    return cut(" ".join(visible(text).split()), width)


def input_line(kept: str, width: int) -> str:
    """Return the command, file or address in an input of the audit, a JSON text that may be cut, as
    `one_line`; else the whole text.
    """
    try:
        given = json.loads(kept)
        named = given.get("command") or given.get("file_path") or given.get("url")
    except (ValueError, AttributeError):
        named = None
    return one_line(str(named or kept), width)
