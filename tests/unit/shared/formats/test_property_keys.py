"""Argument names that Anthropic refuses: the schema's new names, and the client's keys in streamed
arguments.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.property_keys import (
    KeyRestorer,
    changed_keys,
    wire_key,
    with_names,
    with_taken_keys,
)
from simulator.anthropic.schema_rules import PROPERTY_KEY
from tests.support.schemas import TEXT, one

KEYS = st.text(max_size=80) | st.sampled_from(
    ["filter[id]", 'say "hi"', "back\\slash", "\ud83d", "{", ",", "a b"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def restored(names: dict[str, str], *pieces: str) -> str:
    restorer = KeyRestorer(names)
    return "".join([*map(restorer.feed, pieces), restorer.end()])


def test_a_key_that_the_service_takes_keeps_its_name() -> None:
    assert wire_key("filter.id-2_B") == "filter.id-2_B"
    assert wire_key("a" * 64) == "a" * 64


@given(KEYS)
def test_a_wire_key_is_taken_by_the_service(key: str) -> None:
    assert PROPERTY_KEY.fullmatch(wire_key(key))


def test_different_keys_have_different_wire_keys() -> None:
    assert len({wire_key(key) for key in ("a b", "a[b", "a_b", "a" * 65, "a" * 66, "")}) == 6


def test_a_schema_of_taken_keys_is_the_very_same_object() -> None:
    schema = one("filter", one("filter[id]", TEXT))
    assert with_taken_keys(schema, changed_keys(schema)) is schema


def test_every_mention_of_a_renamed_property_has_the_new_name() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "a[b]": TEXT,
            "same": {"$ref": "#/properties/a[b]"},
            "c/d": {"type": "object", "title": "Kept", "properties": {"x y": TEXT}},
            "deep": {"anyOf": [{"$ref": "#/properties/c~1d/properties/x y"}]},
        },
        "required": ["a[b]", "same"],
        "dependentRequired": {"a[b]": ["c/d"], "same": ["a[b]"]},
        "dependentSchemas": {"a[b]": {"required": ["same"]}},
    }
    before = json.dumps(schema)
    first, second = wire_key("a[b]"), wire_key("c/d")
    assert with_taken_keys(schema, changed_keys(schema)) == {
        "type": "object",
        "properties": {
            first: {"title": "a[b]", **TEXT},
            "same": {"$ref": f"#/properties/{first}"},
            second: {"type": "object", "title": "Kept", "properties": {"x y": TEXT}},
            "deep": {"anyOf": [{"$ref": f"#/properties/{second}/properties/x y"}]},
        },
        "required": [first, "same"],
        "dependentRequired": {first: [second], "same": [first]},
        "dependentSchemas": {first: {"required": ["same"]}},
    }
    assert json.dumps(schema) == before, "the client's schema is left alone"


@pytest.mark.parametrize("value", [None, 7, ["a[b]", 3], {"a[b]": "c"}])
def test_a_keyword_of_another_type_passes_unchanged(value: Any) -> None:
    schema = one("a[b]", True) | {"dependentRequired": value}
    renamed = with_taken_keys(schema, changed_keys(schema))
    expected = {wire_key("a[b]"): "c"} if isinstance(value, dict) else value
    assert renamed["dependentRequired"] == expected


@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.lists(st.integers(0, 400), max_size=8),
    st.booleans(),
)
def test_restored_arguments_are_the_clients_wherever_the_text_was_cut(
    arguments: dict[str, Any], cuts: list[int], ascii_only: bool
) -> None:
    names = changed_keys({"properties": arguments})
    text = json.dumps(with_names(arguments, names), ensure_ascii=ascii_only)
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert json.loads(restored(names, *pieces)) == json.loads(json.dumps(arguments))


def test_only_keys_of_the_outermost_object_are_restored() -> None:
    wire = wire_key("a[b]")
    text = f'{{"{wire}":["{wire}",{{"{wire}":"{wire}"}}],"x":"\\\\","{wire}":1}}'
    expected = f'{{"a[b]":["{wire}",{{"{wire}":"{wire}"}}],"x":"\\\\","a[b]":1}}'
    assert restored({"a[b]": wire}, *text) == expected


def test_an_escape_that_is_cut_in_two_closes_no_string() -> None:
    arguments = {"x": 'one " and {', "a[b]": 1}
    text = json.dumps(with_names(arguments, {"a[b]": wire_key("a[b]")}))
    assert json.loads(restored({"a[b]": wire_key("a[b]")}, *text)) == arguments


def test_only_a_key_is_held_back() -> None:
    wire = wire_key("a[b]")
    restorer = KeyRestorer({"a[b]": wire})
    assert [
        restorer.feed(piece) for piece in ("{", f'"{wire[:3]}', f'{wire[3:]}": "b', "c", '"}')
    ] == [
        "{",
        "",
        '"a[b]": "b',
        "c",
        '"}',
    ]


def test_arguments_that_break_off_inside_a_key_keep_their_text() -> None:
    assert restored({"a[b]": wire_key("a[b]")}, '{"x": 1, "a_') == '{"x": 1, "a_'


def test_text_that_is_no_json_passes_unchanged() -> None:
    assert restored({"a[b]": wire_key("a[b]")}, '{"\\q": }}', "]{") == '{"\\q": }}]{'
