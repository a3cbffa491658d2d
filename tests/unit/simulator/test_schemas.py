"""The checks find the first flaw, where it is, and leave sound schemas alone."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.schemas import (
    circular_reference,
    python_flaw,
    strict_cost,
    strict_flaw,
    structure_flaw,
)
from tests.support.schemas import KEY, TEXT, one


def test_a_sound_schema_has_no_flaw() -> None:
    schema = one("a", {"type": "array", "items": {"anyOf": [TEXT, {"type": "null"}]}}) | {
        "$defs": {"b": True}
    }
    assert structure_flaw(schema) is None
    assert python_flaw(schema) is None


@pytest.mark.parametrize(
    ("schema", "context"),
    [
        (one("a", {"type": None}), ("properties", "a", "type")),
        (one("a", {"required": True}), ("properties", "a", "required")),
        (one("a", {"items": []}), ("properties", "a", "items")),
        (one("a", {"anyOf": []}), ("properties", "a", "anyOf")),
        ({"properties": []}, ("properties",)),
        (one("a", None), ("properties", "a")),
    ],
)
def test_a_part_the_draft_does_not_allow_is_found(schema: Any, context: tuple[str, ...]) -> None:
    flaw = structure_flaw(schema)
    assert flaw is not None
    assert flaw.context == context


@pytest.mark.parametrize(
    "schema",
    [
        one("a", {"pattern": KEY}),
        one("a", {"patternProperties": {KEY: TEXT}}),
        one("a", {"type": "array"}),
    ],
)
def test_openais_own_demands_are_checked_inside_properties(schema: Any) -> None:
    flaw = python_flaw(schema)
    assert flaw is not None
    assert flaw.context == ("properties", "a")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (one("a", TEXT), "'additionalProperties' must be"),
        ({"type": ["object", "null"]}, "'additionalProperties' must be"),
        ({"type": "string", "minLength": 1}, "minLength are not supported"),
        ({"type": "array", "minItems": 2}, "'minItems'"),
        ({"enum": [{}]}, "Enum values"),
        ({"allOf": [{"$ref": "#/$defs/a"}]}, "'allOf' with '$ref'"),
        ({"$ref": "https://example.com"}, "External"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "Circular reference"),
    ],
)
def test_a_strict_schema_promises_only_the_small_dialect(schema: Any, said: str) -> None:
    flaw = strict_flaw(schema)
    assert flaw is not None
    assert said in flaw.problem


def test_a_definition_may_be_used_twice() -> None:
    schema = {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": TEXT}}
    assert circular_reference(schema) == ""


def test_options_and_unions_cost() -> None:
    schema = one("a", {"type": ["string", "null"]})
    assert strict_cost(schema) == (1, 1)
    assert strict_cost(schema | {"required": ["a"]}) == (0, 1)
