"""A text in rows of whole words, for a terminal. Pure."""

from __future__ import annotations

import textwrap


def wrapped_line(line: str, columns: int) -> list[str]:
    """Return the rows of `line` on a terminal with `columns`; rows after the first are two columns
    further to the right if the first is indented.
    """
    inner = line.lstrip(" ")
    margin = " " * (len(line) - len(inner))
    return wrapped_rows(line, columns, margin and margin + "  ") or [""]


def wrapped_rows(text: str, columns: int, indent: str = "") -> list[str]:
    """Return the rows of `text`, none longer than `columns` unless a single word is; rows after the
    first begin with `indent`.
    """
    return textwrap.wrap(
        text,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
