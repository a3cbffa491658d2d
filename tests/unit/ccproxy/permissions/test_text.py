"""A line of the permission handler has its width."""

from __future__ import annotations

from ccproxy.permissions.text import one_line


def test_a_line_has_its_width() -> None:
    assert one_line("a b\n  c", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


def test_a_line_hides_nothing() -> None:
    assert one_line("\x1b[2J", 20) == r"\u001b[2J"
