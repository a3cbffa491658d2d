"""The Markdown of the pages that programs write, as a whole or between two marks."""

from __future__ import annotations

from collections.abc import Iterable

MADE = "<!-- Made by `make docs` from the code. Changes belong there. -->\n"


def page(title: str, *paragraphs: str) -> str:
    return "\n\n".join([f"# {title}\n\n{MADE.rstrip()}", *paragraphs]) + "\n"


def table(header: str, rows: Iterable[Iterable[str]], *, numbers: bool = False) -> str:
    """`header` is `a | b`; cells are one line of Markdown each. With `numbers`, all columns but the
    first are numbers, whose ends stand below each other.
    """
    columns = header.split(" | ")
    others = " ---: |" if numbers else " --- |"
    lines = [f"| {' | '.join(columns)} |", "| --- |" + others * (len(columns) - 1)]
    lines += [
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def replace_part(text: str, begin: str, end: str, part: str) -> str:
    """Return `text` with `part` in the place of all that stands between the marks `begin` and
    `end`.
    """
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"The marks {begin!r} and {end!r} do not stand in the text in this order.")
    return f"{before}{begin}{part}{end}{after}"
