"""Nothing that was read changes when it is written again."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.exact_json import DEEPEST, dump_json, dump_text, is_whole, levels, load_json, load_text, whole

BIG = 1157920892373161954235709850086879078532
HALF = "\ud83d"
ANY_TEXT = st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_a_document_survives_being_written_and_read(value: Any) -> None:
    assert load_json(dump_json(value)) == value
    assert load_text(dump_text(value)) == value


@pytest.mark.parametrize("value", [BIG, -BIG, 2**63, 2**64, {"t": HALF}, {HALF: 1}, nested(600)])
def test_what_orjson_refuses_or_changes_is_kept(value: Any) -> None:
    assert load_json(dump_json(value)) == value
    dump_text(value).encode()


def test_ordinary_documents_are_written_as_orjson_writes_them() -> None:
    assert dump_json({"a": ["ä", 1.5, None]}) == orjson.dumps({"a": ["ä", 1.5, None]})


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"1e400", b'{"a": "\\ud83d", "b": NaN}', b"1" * 5000, b'"\xff"'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        load_json(data)


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
