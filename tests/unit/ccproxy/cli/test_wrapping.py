"""A text in rows of whole words."""

from __future__ import annotations

from ccproxy.cli.wrapping import wrapped_line, wrapped_rows


def test_rows_hold_whole_words_and_the_later_ones_are_indented() -> None:
    assert wrapped_rows("one two three", 7, "  ") == ["one two", "  three"]


def test_a_word_longer_than_the_terminal_stays_whole() -> None:
    assert wrapped_rows("see https://example.org/a-b", 10) == ["see", "https://example.org/a-b"]


def test_an_indented_line_goes_on_two_columns_further_to_the_right() -> None:
    assert wrapped_line("  one two", 6) == ["  one", "    two"]
    assert wrapped_line("", 6) == [""]
