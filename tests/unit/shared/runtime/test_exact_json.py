"""Nothing that was read changes when it is written again."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.exact_json import dump_json, load_json

BIG = 1157920892373161954235709850086879078532
HALF = "\ud83d"
ANY_TEXT = st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
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


@pytest.mark.parametrize("value", [BIG, -BIG, 2**63, 2**64, {"t": HALF}, {HALF: 1}, nested(600)])
def test_what_orjson_refuses_or_changes_is_kept(value: Any) -> None:
    assert load_json(dump_json(value)) == value


def test_ordinary_documents_are_written_as_orjson_writes_them() -> None:
    assert dump_json({"a": ["ä", 1.5, None]}) == orjson.dumps({"a": ["ä", 1.5, None]})


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b"1e400", b'{"a": "\\ud83d", "b": NaN}', b"1" * 5000, b'"\xff"']
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        load_json(data)


@pytest.mark.parametrize("depth", [801, 950, 1023])
@pytest.mark.parametrize("beside", [1, BIG, HALF])
def test_a_document_too_deep_to_be_written_is_not_read(depth: int, beside: Any) -> None:
    with pytest.raises(json.JSONDecodeError):
        load_json(b"[%b,%b]" % (json.dumps(beside).encode(), b"[" * depth + b"]" * depth))


def test_a_wide_document_of_few_levels_is_read_and_written() -> None:
    wide = [[[each]] for each in range(1000)] + [BIG]
    assert load_json(dump_json(wide)) == wide
