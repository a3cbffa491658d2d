"""The rows of a terminal that a permission request takes: its presentation, wrapped to a width.
Pure.

Everything counts in rows as they are drawn, after wrapping, because one long line can fill the
screen.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.syntax import Syntax
from rich.text import Text

from shared.permissions.presented import Block, DiffRow, Presentation

THEME = "ansi_dark"
HIGHLIGHTED_CHARACTERS = (
    4_000  # a longer command is shown in one colour: highlighting takes its time
)
ROW_STYLES = {"+": "green", "-": "red", "@": "cyan", " ": ""}
BREAK_AT_BLANK = 24  # cells at the end of a row in which a blank is looked for


def body_rows(shown: Presentation, width: int) -> list[Text]:
    """Return every row of the warnings and the blocks of a presentation."""
    rows: list[Text] = []
    for warning in shown.warnings:
        rows += wrapped(Text(f"! {warning}", "bold yellow"), width, at_blanks=True)
    for block in shown.blocks:
        if rows and block.kind != "line":
            rows.append(Text())
        rows += block_rows(block, width)
    if not shown.complete:
        rows.append(Text())
        missing = "A part of this input cannot be shown, so it cannot be allowed here."
        rows += wrapped(Text(missing, "bold red"), width, at_blanks=True)
    return rows


def block_rows(block: Block, width: int) -> list[Text]:
    """Return the rows of a block, with the block's label."""
    if block.kind == "line":
        return wrapped(
            Text.assemble((f"{block.label}  ", "dim"), block.text), width, at_blanks=False
        )
    rows = wrapped(
        Text(f"{block.label}:", "dim" if block.kind == "remark" else "bold"), width, at_blanks=True
    )
    if block.note:
        rows += wrapped(Text(block.note, "yellow"), width, at_blanks=True)
    if block.kind == "diff":
        numbers = max(
            (number for row in block.rows for number in (row.old, row.new) if number), default=0
        )
        for row in block.rows:
            rows += diff_rows(row, len(str(numbers)) if numbers else 0, width)
        return rows
    for line in _styled(block).split("\n", allow_blank=True):
        rows += wrapped(line, width, at_blanks=block.kind == "remark")
    return rows


def _styled(block: Block) -> Text:
    text = block.text.removesuffix("\n")
    if block.kind == "command" and len(text) <= HIGHLIGHTED_CHARACTERS:
        syntax = Syntax("", "bash", theme=THEME, background_color="default")
        highlighted = syntax.highlight(text)
        highlighted.right_crop(len(highlighted.plain) - len(text))
        return highlighted
    return Text(text, "italic" if block.kind == "remark" else "")


def diff_rows(row: DiffRow, digits: int, width: int) -> list[Text]:
    """Return the rows of one line of a diff. `digits` is the width of the line number;
    0 for none.
    """
    number = row.new if row.new is not None else row.old
    gutter = f"{number or '':>{digits}} {row.mark} " if digits else f"{row.mark} "
    style = ROW_STYLES[row.mark]
    rows = wrapped(Text(row.text, style), max(8, width - len(gutter)), at_blanks=False)
    blank = " " * len(gutter)
    return [
        Text.assemble((gutter if at == 0 else blank, style or "dim"), part)
        for at, part in enumerate(rows)
    ]


def wrapped(line: Text, width: int, *, at_blanks: bool) -> list[Text]:
    """Return one line as rows of at most `width` cells. With `at_blanks`, words stay whole if
    possible.
    """
    offsets = row_starts(line.plain, width, at_blanks=at_blanks)
    return list(line.divide(offsets)) if offsets else [line]


def row_starts(text: str, width: int, *, at_blanks: bool) -> list[int]:
    """Return the offsets of the beginnings of the second and every further row of `text`."""
    starts: list[int] = []
    start = 0
    # ASCII has one cell for each character, so that its rows need no counting.
    plain = text.isascii()
    while True:
        end = start + width if plain else _fitting(text, start, width)
        if end >= len(text):
            return starts
        if at_blanks:
            blank = text.rfind(" ", max(start + 1, end - BREAK_AT_BLANK), end)
            end = blank + 1 if blank >= 0 else end
        starts.append(end)
        start = end


def _fitting(text: str, start: int, width: int) -> int:
    """Return the offset behind the last character within `width` cells from `start`, at least a
    single character.
    """
    cells = 0
    for at in range(start, min(len(text), start + 4 * width)):
        cells += cell_len(text[at])
        if cells > width:
            return max(at, start + 1)
    return min(len(text), start + 4 * width)
