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

from rich.cells import cell_len
from rich.console import Console, OverflowMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from shared.runtime.visible_text import visible, visible_line

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}
MARKS = {"pass": "ok", "warn": "note", "fail": "wrong"}
CELL_WIDTH = 12  # what a column of longer texts gets at least
GAP = 2  # between two columns


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
    spare: Sequence[str] = (),
    cut: Sequence[str] = (),
) -> None:
    """Write a table of plain text. A cell with a check's status becomes the status's word, coloured
    on a terminal. In a pipe the first line holds the columns if `titled`. On a terminal, neighbours
    that differ in the first cell alone become one row if `joined`.

    A terminal too narrow for all columns gets the table without as many of the `spare` columns as
    need be, or each row as a block of lines. A word longer than its column goes on in the next row
    of the terminal; in the columns `cut` it ends with "…" instead.
    """
    if not sys.stdout.isatty():
        if titled:
            sys.stdout.write("\t".join(columns) + "\n")
        for row in rows:
            sys.stdout.write(
                "\t".join(" ".join(visible(MARKS.get(cell, cell)).split()) for cell in row) + "\n"
            )
        return
    cells = list(joined_by_name(rows) if joined else rows)
    console = Console()
    places = places_in_width(columns, cells, spare, console.width)
    if least_width(places, columns, cells) > console.width:
        show_blocks(console, columns, cells)
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for place in places:
        overflow: OverflowMethod = "ellipsis" if columns[place] in cut else "fold"
        table.add_column(plain(columns[place]), overflow=overflow)
    for row in cells:
        table.add_row(*(shown_cell(row[place]) for place in places))
    console.print(table)
    if left_out := [name for place, name in enumerate(columns) if place not in places]:
        console.print(f"A wider terminal or --json shows {', '.join(left_out)} too.", style="dim")


def show_blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write each row as a line for each column, and an empty line between two rows."""
    for number, row in enumerate(rows):
        if number:
            console.print()
        block = Table(box=None, show_header=False, pad_edge=False)
        block.add_column(style="dim")
        block.add_column(overflow="fold")
        for name, cell in zip(columns, row, strict=True):
            block.add_row(plain(name), shown_cell(cell))
        console.print(block)


def shown_cell(cell: str) -> Text:
    return Text(visible(MARKS.get(cell, cell)), COLOURS.get(cell, ""))


def places_in_width(
    columns: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], width: int
) -> list[int]:
    """Return the places of the columns to show in `width`: all but the `spare` ones that have no
    room, the first of these first.
    """
    places = list(range(len(columns)))
    for name in spare:
        if least_width(places, columns, rows) <= width:
            break
        places.remove(columns.index(name))
    return places


def least_width(
    places: Sequence[int], columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> int:
    """Return the width of a table in which every column has its own width or CELL_WIDTH."""
    widths = [
        max(cell_len(columns[place]), *(cell_len(visible(row[place])) for row in rows), 0)
        for place in places
    ]
    return sum(min(CELL_WIDTH, width) for width in widths) + GAP * (len(places) - 1)


def joined_by_name(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield `rows`; neighbours that differ in the first cell alone become one row, which has the
    first cells of them all.
    """
    for facts, alike in groupby(rows, key=lambda row: row[1:]):
        yield (", ".join(row[0] for row in alike), *facts)
