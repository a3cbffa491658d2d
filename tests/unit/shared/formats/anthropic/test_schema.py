"""Schemas are closed and keep their meaning in words."""

from __future__ import annotations

import copy
from typing import Any

from shared.formats.anthropic.schema import strict_schema


def test_every_object_is_closed_at_any_depth() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {}}},
            "either": {"oneOf": [{"type": "object"}, {"type": "null"}]},
            "named": {"$ref": "#/$defs/thing"},
        },
        "$defs": {"thing": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    before = copy.deepcopy(schema)
    strict = strict_schema(schema)
    assert strict["additionalProperties"] is False
    assert strict["properties"]["list"]["items"]["additionalProperties"] is False
    assert strict["properties"]["either"] == {
        "anyOf": [{"type": "object", "additionalProperties": False}, {"type": "null"}]
    }
    assert strict["$defs"]["thing"] == {"type": "object", "additionalProperties": False}
    assert schema == before, "the caller's schema is left alone"


def test_a_keyword_that_is_not_accepted_is_told_in_the_description() -> None:
    strict = strict_schema({"type": "string", "description": "A name.", "minLength": 3, "format": "phone"})
    assert strict == {"type": "string", "description": 'A name.\n\n{"minLength": 3, "format": "phone"}'}


def test_what_is_accepted_stays() -> None:
    schema = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "uri", "enum": ["a"]}}
    assert strict_schema(schema) == schema
    assert strict_schema({"type": "array", "minItems": 2}) == {"type": "array", "description": '{"minItems": 2}'}
    assert strict_schema({"anyOf": [True, {"const": 1}]}) == {"anyOf": [True, {"const": 1}]}
