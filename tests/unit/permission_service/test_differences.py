"""A diff shows what changes, with the numbers of the lines, for a bounded price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permission_service.differences import (
    Effort,
    Replacement,
    compare,
    find_replacements,
    lines_of,
    rows_of,
    whole_file_rows,
)

LINES = st.lists(st.sampled_from("abc"), max_size=12)


@given(LINES, LINES, st.sampled_from([0, 10, 10_000]))
def test_the_steps_lead_from_the_old_lines_to_the_new(
    old: list[str], new: list[str], comparisons: int
) -> None:
    made: list[str] = []
    at = 0
    for kind, old_from, old_to, new_from, new_to in compare(old, new, Effort(comparisons)):
        assert old_from == at
        at = old_to
        assert kind != "equal" or old[old_from:old_to] == new[new_from:new_to]
        made += new[new_from:new_to]
    assert (made, at) == (new, len(old))


def test_a_budget_is_spent_once() -> None:
    effort = Effort(8)
    assert effort.pays(["a", "b"], ["c", "d"])
    assert not effort.pays(["a"], ["b"])


@pytest.mark.parametrize(
    ("text", "old", "new", "everywhere", "expected", "places"),
    [
        ("one\ntwo\n", "two", "2", False, [Replacement(1, ["two"], ["2"])], 1),
        ("a a\nb\na\n", "a", "x", False, [Replacement(0, ["a a"], ["x a"])], 1),
        (
            "a a\nb\na\n",
            "a",
            "x",
            True,
            [Replacement(0, ["a a"], ["x x"]), Replacement(2, ["a"], ["x"])],
            3,
        ),
        ("a\nb\n", "a\nb", "", False, [Replacement(0, ["a", "b"], [])], 1),
        ("a\nb\nc\n", "a\n", "", False, [Replacement(0, ["a", "b"], ["b"])], 1),
        ("a\n", "x", "y", True, [], 0),
        ("a\n", "", "y", True, [], 0),
    ],
)
def test_a_replacement_is_widened_to_whole_lines(
    text: str, old: str, new: str, everywhere: bool, expected: list[Replacement], places: int
) -> None:
    assert find_replacements(text, old, new, everywhere=everywhere) == (expected, places)


@given(
    st.text("ab\n", max_size=30),
    st.text("ab\n", min_size=1, max_size=3),
    st.text("ab\n", max_size=3),
    st.booleans(),
)
def test_replacements_make_the_text_that_the_tool_makes(
    text: str, old: str, new: str, everywhere: bool
) -> None:
    found, _ = find_replacements(text, old, new, everywhere=everywhere)
    lines = lines_of(text)
    for replacement in reversed(found):
        assert (
            lines[replacement.start : replacement.start + len(replacement.removed)]
            == replacement.removed
        )
        lines[replacement.start : replacement.start + len(replacement.removed)] = replacement.added
    if old in text:
        assert "".join(lines) == text.replace(old, new, -1 if everywhere else 1).replace("\n", "")


def test_rows_carry_the_numbers_of_both_files() -> None:
    rows = rows_of(Replacement(1, ["b"], ["x", "y"]), ["a", "b", "c"], 5, Effort())
    assert [(row.mark, row.text, row.old, row.new) for row in rows] == [
        (" ", "a", 1, 6),
        ("-", "b", 2, None),
        ("+", "x", None, 7),
        ("+", "y", None, 8),
        (" ", "c", 3, 9),
    ]


def test_long_runs_of_equal_lines_are_counted_instead_of_shown() -> None:
    old = [str(number) for number in range(100)]
    new = [*old[:50], "more", *old[51:]]
    rows = whole_file_rows("\n".join(old), "\n".join(new), Effort())
    assert rows is not None
    assert [row.text for row in rows if row.mark in "+-"] == ["50", "more"]
    assert len(rows) == 8
    new[10] = "changed"
    rows = whole_file_rows("\n".join(old), "\n".join(new), Effort()) or []
    assert [row.text for row in rows if row.mark == "@"] == ["33 lines that stay as they are"]
    assert whole_file_rows("\n".join(old), "other", Effort()) is None
