"""Text from outside hides nothing and moves nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.visible_text import (
    DRAWS_NOTHING,
    HIDDEN_CATEGORIES,
    cut,
    visible,
    visible_line,
)

# Default_Ignorable_Code_Point of Unicode 17, DerivedCoreProperties.txt.
DEFAULT_IGNORABLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🙂 ñ", "plain é 漢字 🙂 ñ"),
        ("two\nlines", "two\nlines"),
        ("\ttab", "    tab"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\x1b]52;c;ZXZpbA==\x07", r"\u001b]52;c;ZXZpbA==\u0007"),
        ("\x9b31m", r"\u009b31m"),
        ("\x7f", r"\u007f"),
        ("rm\r\nls", "rm\\u000d\nls"),
        ("\u202egnp", r"\u202egnp"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\u2028", r"\u2028"),
        ("\u061c\u00ad", r"\u061c\u00ad"),
        ("\u3164\u2800\u115f\u1160\uffa0", r"\u3164\u2800\u115f\u1160\uffa0"),
        ("git\u00a0push\u3000", r"git\u00a0push\u3000"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("\ud800", r"\ud800"),
        ("\ue000\U000f0000", r"\ue000\U000f0000"),
    ],
)
def test_a_hidden_character_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_default_ignorable_code_point_is_spelled_out() -> None:
    left = [
        f"{code:04x}"
        for first, last in DEFAULT_IGNORABLE
        for code in range(first, last + 1)
        if chr(code) in visible(chr(code))
    ]
    assert not left


def test_every_control_and_every_odd_blank_is_spelled_out() -> None:
    every = map(chr, range(0x110000))
    hidden = [char for char in every if unicodedata.category(char) in HIDDEN_CATEGORIES]
    assert {char for char in hidden if char in visible(char)} == {" ", "\n"}


@given(st.text())
def test_the_result_is_plain_and_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    hidden = {char for char in shown if unicodedata.category(char) in HIDDEN_CATEGORIES}
    assert hidden <= {" ", "\n"}
    assert not DRAWS_NOTHING.search(shown)
    assert visible(shown) == shown


@given(st.text())
def test_a_visible_line_is_one_line(text: str) -> None:
    assert len(visible_line(text).splitlines()) <= 1


def test_a_line_end_in_a_line_is_spelled_out() -> None:
    assert visible_line("tool\n12:00:00 allowed") == r"tool\n12:00:00 allowed"


def test_a_text_is_cut_with_a_mark() -> None:
    assert cut("abcd", 4) == "abcd"
    assert cut("abcde", 4) == "abc…"
