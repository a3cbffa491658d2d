"""Strict schemas are closed, keep their meaning in words, and stay within the budget of one
request.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.formats.strict_schemas import (
    MOST_OPTIONAL,
    MOST_STRICT_TOOLS,
    MOST_UNIONS,
    StrictBudget,
    qualifies_for_openai,
    strict_for_anthropic,
)
from simulator.schemas import strict_cost, strict_flaw
from tests.support.schemas import ODD, TEXT, one

Json = dict[str, Any]


def strict_of(schema: Json) -> Json:
    strict = strict_for_anthropic(schema)
    assert strict is not None
    assert strict_flaw(strict.schema) is None
    return strict.schema


def test_every_object_is_closed_at_any_depth() -> None:
    schema: Json = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": one("a", TEXT)},
            "either": {"oneOf": [{"type": ["object", "null"], "properties": {}}, {"type": "null"}]},
            "named": {"$ref": "#/$defs/thing"},
            "wrapped": {
                "allOf": [{"$ref": "#/$defs/thing"}],
                "description": "As pydantic 1 says it.",
            },
        },
        "$defs": {"thing": one("b", TEXT) | {"additionalProperties": False}},
    }
    before = copy.deepcopy(schema)
    strict = strict_of(schema)
    assert strict["additionalProperties"] is False
    assert strict["properties"]["list"]["items"]["additionalProperties"] is False
    assert strict["properties"]["either"]["anyOf"][0]["additionalProperties"] is False
    assert strict["properties"]["wrapped"] == {
        "$ref": "#/$defs/thing",
        "description": "As pydantic 1 says it.",
    }
    assert schema == before, "the caller's schema is left alone"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        one("scores", {"type": "object", "additionalProperties": {"type": "integer"}}),
        one("anything", {"type": "object", "additionalProperties": True}),
        one("a", TEXT) | {"additionalProperties": True},
        one("map", {"type": "object", "patternProperties": {"^x": TEXT}}),
        one("tree", {"$ref": "#/$defs/node"})
        | {"$defs": {"node": one("next", {"$ref": "#/$defs/node"})}},
        one("tree", {"$ref": "#"}),
        one("far", {"$ref": "https://example.com/schema.json"}),
        one("ring", {"$ref": "#/$defs/a"})
        | {"$defs": {"a": one("b", {"$ref": "#/$defs/b"}), "b": one("a", {"$ref": "#/$defs/a"})}},
        one("both", {"allOf": [{"$ref": "#/$defs/a"}, one("c", TEXT)]})
        | {"$defs": {"a": one("a", TEXT)}},
    ],
)
def test_a_type_the_dialect_cannot_say_is_not_changed_into_another(schema: Json) -> None:
    assert strict_for_anthropic(schema) is None


@pytest.mark.parametrize("name", ODD)
def test_no_odd_schema_gets_through_with_a_flaw(name: str) -> None:
    strict = strict_for_anthropic(ODD[name].schema, is_tool=True)
    assert strict is None or strict_flaw(strict.schema) is None


def test_a_keyword_that_is_not_accepted_is_told_in_the_description() -> None:
    strict = strict_of(
        {"type": "string", "description": "A name.", "minLength": 3, "format": "phone"}
    )
    assert strict == {
        "type": "string",
        "description": 'A name.\n\n{"minLength": 3, "format": "phone"}',
    }
    assert strict_of({"enum": [{"a": 1}]}) == {"description": '{"enum": [{"a": 1}]}'}


def test_what_is_accepted_stays() -> None:
    schema = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "format": "uri", "enum": ["a"]},
    }
    assert strict_of(schema) == schema
    assert strict_of({"type": "array", "minItems": 2}) == {
        "type": "array",
        "description": '{"minItems": 2}',
    }
    assert strict_of({"anyOf": [True, {"const": 1}]}) == {"anyOf": [True, {"const": 1}]}


OPTIONAL = {"type": "object", "properties": {str(number): TEXT for number in range(10)}}
UNIONS = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}, "b": {"anyOf": [TEXT]}},
    "required": ["a", "b"],
}


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        (one("a", TEXT) | {"required": ["a"]}, MOST_STRICT_TOOLS),
        (OPTIONAL, MOST_OPTIONAL // 10),
        (UNIONS, MOST_UNIONS // 2),
    ],
)
def test_the_budget_of_a_request_ends(schema: Json, most: int) -> None:
    budget = StrictBudget()
    admitted = [budget.admit(schema, is_tool=True) for _ in range(MOST_STRICT_TOOLS + 5)]
    assert admitted == [True] * most + [False] * (len(admitted) - most)


def test_the_budget_counts_as_the_service_does() -> None:
    nested = one("inner", OPTIONAL | UNIONS) | {"required": ["inner"]}
    cost = strict_cost(nested)
    budget = StrictBudget()
    before = (budget._optional, budget._unions)
    assert budget.admit(nested, is_tool=False)
    assert (before[0] - budget._optional, before[1] - budget._unions) == cost


def test_openai_takes_only_closed_objects_without_options_as_strict() -> None:
    closed = one("a", one("b", TEXT) | {"required": ["b"], "additionalProperties": False})
    assert not qualifies_for_openai(closed)
    assert qualifies_for_openai(closed | {"required": ["a"], "additionalProperties": False})
    assert not qualifies_for_openai(one("a", TEXT) | {"additionalProperties": False})
