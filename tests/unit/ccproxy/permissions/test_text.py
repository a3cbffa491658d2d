"""Nothing a model writes moves the cursor or hides."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy.permissions.text import INVISIBLE, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🙂", "plain é 漢字 🙂"),
        ("two\nlines", "two\nlines"),
        ("\ttab", "    tab"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\x9b31m", r"\u009b31m"),
        ("rm\r\nls", "rm\\u000d\nls"),
        ("\u202egnp", r"\u202egnp"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    left = {char for char in visible(text) if unicodedata.category(char) in INVISIBLE}
    assert left <= {"\n"}


def test_a_line_has_its_width() -> None:
    assert one_line("a b\n  c", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"
