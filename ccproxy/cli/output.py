"""The answers of commands: tables on a terminal, tab-separated lines into a pipe, JSON for
programs. Always on stdout.

Cells and lines may hold text from outside, so hidden characters are escaped in all of them; JSON
for a terminal is ASCII, which any JSON reader takes as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from shared.runtime.visible_text import visible, visible_line

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}
MARKS = {"pass": "ok", "warn": "note", "fail": "wrong"}


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Write `value` to stdout as JSON; with `indent` None on a single line."""
    ascii_only = sys.stdout.isatty()
    sys.stdout.write(json.dumps(value, indent=indent, default=str, ensure_ascii=ascii_only) + "\n")
    sys.stdout.flush()


def show_line(text: str) -> None:
    """Write `text` to stdout with hidden characters escaped, and a line end after `text`."""
    sys.stdout.write(visible(text) + "\n")
    sys.stdout.flush()


def show_request_line(line: str) -> None:
    """Write a line of ccproxy/cli/log_lines.py, in which the texts from outside are escaped, with
    its colours.
    """
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_picture(blocks: str) -> None:
    """Write a picture of block characters to the terminal, white on black under every theme."""
    Console().print(Text(visible(blocks), "#ffffff on #000000"), no_wrap=True, crop=False)


def plain(text: str) -> str:
    """Return `text` as one line for a line of rich markup: hidden characters and markup are
    escaped.
    """
    return escape(visible_line(text))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    titled: bool = False,
    joined: bool = False,
) -> None:
    """Write a table of plain text. A cell with a check's status becomes the status's word, coloured
    on a terminal. In a pipe the first line holds the columns if `titled`. On a terminal, neighbours
    that differ in the first cell alone become one row if `joined`.
    """
    if not sys.stdout.isatty():
        if titled:
            sys.stdout.write("\t".join(columns) + "\n")
        for row in rows:
            sys.stdout.write(
                "\t".join(" ".join(visible(MARKS.get(cell, cell)).split()) for cell in row) + "\n"
            )
        return
    table = Table(*map(plain, columns), box=None, header_style="dim", pad_edge=False)
    for row in joined_by_name(rows) if joined else rows:
        table.add_row(
            *(Text(visible(MARKS.get(cell, cell)), COLOURS.get(cell, "")) for cell in row)
        )
    Console().print(table)


def joined_by_name(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield `rows`; neighbours that differ in the first cell alone become one row, which has the
    first cells of them all.
    """
    for facts, alike in groupby(rows, key=lambda row: row[1:]):
        yield (", ".join(row[0] for row in alike), *facts)
