"""The Markdown of the pages that are made from the code."""

from __future__ import annotations

from collections.abc import Iterable

MADE = "<!-- Made by `make docs` from the code. Changes belong there. -->\n"


def page(title: str, *paragraphs: str) -> str:
    return "\n\n".join([f"# {title}\n\n{MADE.rstrip()}", *paragraphs]) + "\n"


def table(header: str, rows: Iterable[Iterable[str]]) -> str:
    """`header` is `a | b`; cells are one line of Markdown each."""
    columns = header.split(" | ")
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    lines += [
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |"
        for row in rows
    ]
    return "\n".join(lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""
