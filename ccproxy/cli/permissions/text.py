"""Text of a given width for the terminal."""

from __future__ import annotations

from shared.runtime.visible_text import visible


def one_line(text: str, width: int) -> str:
    """Return `text` on a single line of at most `width` characters; a cut text ends in `…`."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"
