"""Text that a model wrote is read as it is, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.formats.json_text import (
    DEEPEST,
    dump_text,
    is_whole,
    levels,
    load_text,
    may_hold_halves,
    whole,
)

BIG = 1157920892373161954235709850086879078532
HALF = "\ud83d"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [BIG, -BIG, {"t": HALF}, {HALF: 1}, nested(600), "ä😀", {}])
def test_a_value_survives_being_written_and_read(value: Any) -> None:
    text = dump_text(value)
    assert load_text(text) == value
    text.encode()


@pytest.mark.parametrize("text", ["1e400", "NaN", "[" * 900 + "]" * 900, "{", "1" * 5000])
def test_text_that_would_change_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_text(text)


def test_brackets_in_strings_are_no_levels() -> None:
    assert levels('{"a": ["[[[", "\\"[", 1]}') == 2
    assert load_text(json.dumps("[" * 1000)) == "[" * 1000
    assert levels(json.dumps(nested(DEEPEST))) == DEEPEST


def test_halves_of_pairs_can_be_replaced() -> None:
    assert whole({"a": [f"x{HALF}y", "😀", 1]}) == {"a": ["x\ufffdy", "😀", 1]}
    assert is_whole("ä😀")
    assert not is_whole(HALF)
    assert may_hold_halves('{"t": "\\ud83d"}')
    assert not may_hold_halves('{"t": "😀"}')
