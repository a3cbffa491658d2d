"""Values made from schemas."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.sample import sample


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, {}),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
            {"a": "text", "b": 1},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "boolean"}, "b": {}},
                "required": ["a"],
            },
            {"a": True},
        ),
        ({"type": "object", "properties": {}, "required": ["ghost"]}, {"ghost": "text"}),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1.5, 1.5]),
        ({"type": "array", "items": {"type": "number"}}, []),
        ({"enum": ["red", "blue"]}, "red"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["string", "null"]}, "text"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, 1),
        ({"$ref": "#/$defs/missing"}, "text"),
        (True, "text"),
        ({"type": {"no": "type"}}, "text"),
        ({"type": []}, "text"),
    ],
)
def test_the_plainest_fitting_value_is_made(schema: Any, value: Any) -> None:
    assert sample(schema) == value


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}
    assert "child" in sample({"$ref": "#/$defs/node", "$defs": {"node": node}})["child"]
