"""Every field is shown whole, or the presentation says that it is not complete."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.draft import SHOWN_CHARACTERS, cut_middle, is_default, line
from tests.unit.permission_service.presenting import presented


def test_a_long_text_is_cut_in_its_middle_and_then_not_complete() -> None:
    command = "x" * SHOWN_CHARACTERS
    assert presented("Bash", {"command": command}).complete
    shown = presented("Bash", {"command": command + "; rm -rf ~"})
    assert not shown.complete
    assert shown.blocks[0].text.endswith("; rm -rf ~")
    assert "… 10 characters hidden …" in shown.blocks[0].text


def test_a_deep_input_is_not_shown_and_not_complete() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    shown = presented("mcp__a__b", {"deep": deep})
    assert not shown.complete
    while deep:  # taken apart by hand: the interpreter would recurse
        deep = deep["a"]


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("replace_all", False, True),
        ("replace_all", 0, False),
        ("replace_all", True, False),
        ("timeout", 120_000, True),
        ("timeout", 120_000.0, False),
        ("command", False, False),
        ("description", "", True),
    ],
)
def test_only_a_default_value_is_left_out(name: str, value: object, default: bool) -> None:
    assert is_default(name, value) is default


def test_the_middle_is_cut_and_counted() -> None:
    assert cut_middle("abcdef", 6) == ("abcdef", 0)
    assert cut_middle("abcdef", 4) == ("ab\n… 2 characters hidden …\nef", 2)
    assert line("abcdef\n", 4) == "ab … f\\n"
