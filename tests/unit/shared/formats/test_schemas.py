"""A repaired schema passes the checks of the service that reads it, and everything lost
is named.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.formats.schemas import DEEPEST, compiles, either, for_anthropic, for_openai
from shared.runtime.errors import ClientError
from simulator.anthropic.schema_rules import PROPERTY_KEY
from simulator.schemas import python_flaw, structure_flaw
from tests.support.schemas import ODD, TEXT, one


@pytest.mark.parametrize("name", ODD)
def test_a_repaired_schema_passes_openais_checks(name: str) -> None:
    schema, lost, _ = ODD[name]
    before = copy.deepcopy(schema)
    repaired = for_openai(schema)
    assert structure_flaw(repaired.schema) is None
    assert python_flaw(repaired.schema) is None
    assert repaired.schema["type"] == "object"
    assert isinstance(repaired.schema["properties"], dict)
    assert repaired.lost == lost
    assert schema == before, "the client's schema is left alone"


@pytest.mark.parametrize("name", ODD)
def test_a_repaired_schema_passes_anthropics_checks(name: str) -> None:
    schema, _, lost = ODD[name]
    repaired = for_anthropic(schema)
    assert structure_flaw(repaired.schema) is None
    assert not repaired.schema.keys() & {"anyOf", "oneOf", "allOf"}
    assert all(PROPERTY_KEY.fullmatch(key) for key in repaired.schema["properties"])
    assert repaired.schema["type"] == "object"
    assert repaired.lost == lost


def test_a_sound_schema_is_the_very_same_object() -> None:
    schema = one("a", {"type": "array", "items": {"anyOf": [TEXT, {"type": "null"}]}}) | {
        "$defs": {"b": True}
    }
    assert for_openai(schema).schema is schema
    assert for_anthropic(schema).schema is schema


def test_for_anthropic_returns_the_new_name_of_each_refused_key() -> None:
    schema = one("filter[id]", TEXT) | {"required": ["filter[id]"]}
    repaired = for_anthropic(schema)
    (name,) = repaired.schema["properties"]
    assert repaired.renamed == {"filter[id]": name}
    assert repaired.schema["required"] == [name]
    assert not for_anthropic(schema, is_tool=False).renamed, (
        "the service takes any key in the schema of a reply"
    )
    assert for_openai(schema).schema is schema


def test_the_properties_of_alternatives_stand_in_one_object() -> None:
    first = one("a", TEXT) | {"required": ["a", "both"]}
    second = one("a", {"type": "number"}) | {"required": ["both"]}
    merged = for_openai(
        {"type": "object", "description": "About.", "anyOf": [first, second]}
    ).schema
    assert merged["properties"] == {"a": {"anyOf": [TEXT, {"type": "number"}]}}
    assert merged["required"] == ["both"]
    assert merged["description"].startswith("About.\n\nThe arguments must match: {")


def test_every_part_of_an_all_of_is_required() -> None:
    parts = [one("a", TEXT) | {"required": ["a"]}, {"$ref": "#/$defs/b"}]
    merged = for_anthropic(
        {"allOf": parts, "$defs": {"b": one("b", TEXT) | {"required": ["b"]}}}
    ).schema
    assert merged["properties"] == {"a": TEXT, "b": TEXT}
    assert merged["required"] == ["a", "b"]


def test_a_list_of_items_allows_each_of_them_anywhere() -> None:
    repaired = for_openai(one("pair", {"type": "array", "items": [TEXT, {"type": "number"}]}))
    assert repaired.schema["properties"]["pair"]["items"] == {"anyOf": [TEXT, {"type": "number"}]}


def test_the_choice_between_two_schemas_lists_each_once() -> None:
    assert either(TEXT, TEXT) == TEXT
    assert either(either(TEXT, True), TEXT) == {"anyOf": [TEXT, True]}


def test_a_schema_without_end_is_refused_by_words() -> None:
    schema: dict[str, Any] = TEXT
    for _ in range(DEEPEST + 1):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ClientError, match="make it flatter"):
        for_openai(one("deep", schema))


@pytest.mark.parametrize(
    ("pattern", "works"),
    [("^a$", True), ("[", False), ("\\p{L}", False), ("a{99999999999}", False)],
)
def test_patterns_are_tried_with_pythons_own_engine(pattern: str, works: bool) -> None:
    assert compiles(pattern) is works
