"""Rows are counted as the terminal draws them, and hold the whole text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ccproxy.cli.permissions.rows import block_rows, body_rows, row_starts
from shared.permissions.presented import Block, DiffRow, Presentation
from shared.runtime.visible_text import visible_line


def plain(block: Block, width: int = 20) -> list[str]:
    return [row.plain for row in block_rows(block, width)]


@given(st.text(max_size=80).map(visible_line), st.integers(4, 30), st.booleans())
def test_rows_hold_the_whole_text_and_fit_their_width(
    text: str, width: int, at_blanks: bool
) -> None:
    starts = [0, *row_starts(text, width, at_blanks=at_blanks), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(starts)]
    assert "".join(parts) == text
    assert all(cell_len(part) <= width for part in parts)


@pytest.mark.parametrize(
    ("text", "at_blanks", "starts"),
    [
        ("abcdefgh", False, [4]),
        ("abc", False, []),
        ("漢字漢字", False, [2]),
        ("ab cd ef", True, [3, 6]),
        ("", False, []),
    ],
)
def test_a_row_ends_at_its_width(text: str, at_blanks: bool, starts: list[int]) -> None:
    assert row_starts(text, 4, at_blanks=at_blanks) == starts


def test_every_kind_of_block_names_itself() -> None:
    assert plain(Block("File", "line", "/a.py")) == ["File  /a.py"]
    assert plain(Block("Command", "command", "ls\n\nrm x\n")) == ["Command:", "ls", "", "rm x"]
    assert plain(Block("Claude says", "remark", "harmless")) == ["Claude says:", "harmless"]
    assert plain(Block("Input", "json", "{}", note="Odd.")) == ["Input:", "Odd.", "{}"]


def test_a_diff_shows_marks_and_line_numbers() -> None:
    rows = [
        DiffRow(" ", "a", 9, 9),
        DiffRow("-", "b" * 20, 10),
        DiffRow("+", "c", new=10),
        DiffRow("@", "more"),
    ]
    assert plain(Block("Change", "diff", rows=rows)) == [
        "Change:",
        " 9   a",
        "10 - " + "b" * 15,
        "     " + "b" * 5,
        "10 + c",
        "   @ more",
    ]
    assert plain(Block("Change", "diff", rows=[DiffRow("-", "b")])) == ["Change:", "- b"]


def test_warnings_come_first_and_a_missing_part_is_told_last() -> None:
    shown = Presentation(
        "t", "s", warnings=["Care."], blocks=[Block("Input", "json", "{}")], complete=False
    )
    rows = [row.plain for row in body_rows(shown, 200)]
    assert rows[0] == "! Care."
    assert rows[-1].startswith("A part of this input cannot be shown")


@pytest.mark.parametrize("text", ["a" * 262_144, "a\n" * 131_072, "漢" * 87_000])
def test_the_longest_input_is_laid_out_whole(text: str) -> None:
    # Time that grows with the square of the input would meet the limit of every test.
    rows = block_rows(Block("Command", "command", text), 76)
    shown = "".join(row.plain for row in rows)
    assert sum(map(shown.count, set(text.strip()))) >= len(text.replace("\n", ""))
