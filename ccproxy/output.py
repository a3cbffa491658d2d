"""How commands answer: tables on a terminal, tab-separated lines into a pipe, JSON for programs. Always on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}
MARKS = {"pass": "ok", "warn": "note", "fail": "wrong"}


def show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Cells are plain text. A cell that is a check's status becomes its word, coloured on a terminal."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(" ".join(MARKS.get(cell, cell).split()) for cell in row) + "\n")
        return
    table = Table(*columns, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(MARKS.get(cell, cell), COLOURS.get(cell, "")) for cell in row))
    Console().print(table)
