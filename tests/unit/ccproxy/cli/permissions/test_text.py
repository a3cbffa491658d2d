"""A line has its width."""

from __future__ import annotations

from ccproxy.cli.permissions.text import one_line


def test_a_line_has_its_width() -> None:
    assert one_line("a b\n  c", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"
    assert one_line("\x1b[2J", 20) == "\\u001b[2J"
