"""Sizes of text in the permission handler's terminal: one line of a given width, and the lines there is room for."""

from __future__ import annotations

import shutil

from shared.visible_text import visible


def one_line(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters, with `…` at its end where it was cut."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def room_for_input() -> int:
    """Return how many lines of an input fit on the screen beside everything else."""
    return max(5, shutil.get_terminal_size().lines - 13)
