"""A line has its width."""

from __future__ import annotations

from shared.permissions.input_lines import input_line, one_line


def test_a_line_has_its_width() -> None:
    assert one_line("a b\n  c", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"
    assert one_line("\x1b[2J", 20) == "\\u001b[2J"


def test_an_input_is_shown_by_the_command_the_file_or_the_address() -> None:
    assert input_line('{"timeout":1,"command":"make"}', 10) == "make"
    assert input_line('{"file_path":"/a"}', 10) == "/a"
    assert input_line('{"x":1}', 10) == '{"x":1}'
    assert input_line('{"command":"ma…', 20) == '{"command":"ma…'
    assert input_line("[]", 10) == "[]"
