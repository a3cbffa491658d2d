"""Schemas that real programs send and that one vendor or the other refuses, each the smallest
member of a family.

`lost` are the paths a repair has to name for OpenAI and for Anthropic. Tests hold the repairs to
the simulator's own checks, which know nothing of the product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]

KEY = (
    r"^(?!__.*__$)[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\"\\./[\]]{1,200}$"  # a rule of Claude Code's own tools
)
TEXT: Json = {"type": "string"}


class Odd(NamedTuple):
    schema: Any
    openai: tuple[str, ...] = ()
    anthropic: tuple[str, ...] = ()


def one(name: str, schema: Any) -> Json:
    return {"type": "object", "properties": {name: schema}}


ODD: dict[str, Odd] = {
    # patterns that only JavaScript understands, wherever a pattern may stand
    "pattern": Odd(one("key", TEXT | {"pattern": KEY}), ("properties.key.pattern",)),
    "pattern in names": Odd(
        one("map", {"type": "object", "propertyNames": {"pattern": KEY}}),
        ("properties.map.propertyNames.pattern",),
    ),
    "pattern as key": Odd(
        one("map", {"type": "object", "patternProperties": {KEY: TEXT, "^x-": TEXT}}),
        (f"properties.map.patternProperties.{KEY}",),
    ),
    "pattern in definition": Odd(
        {"type": "object", "properties": {}, "$defs": {"key": TEXT | {"pattern": KEY}}},
        ("$defs.key.pattern",),
    ),
    "pattern in a choice": Odd(
        one("key", {"anyOf": [TEXT | {"pattern": "\\p{L}"}, {"type": "null"}]}),
        ("properties.key.anyOf[].pattern",),
    ),
    "pattern that Python knows": Odd(one("key", TEXT | {"pattern": r"^\w+$"})),
    "property called pattern": Odd(one("pattern", TEXT)),
    # names that only Anthropic refuses
    "key with brackets": Odd(one("filter[id]", TEXT) | {"required": ["filter[id]"]}),
    "key of another alphabet": Odd(one("größe", TEXT)),
    "long key": Odd(one("a" * 65, TEXT)),
    "empty key": Odd(one("", TEXT)),
    "key of an alternative": Odd(
        {"type": "object", "anyOf": [one("a b", TEXT)]}, ("anyOf",), ("anyOf",)
    ),
    "deep key with brackets": Odd(one("filter", one("filter[id]", TEXT))),
    # what only OpenAI insists on
    "no properties": Odd({"type": "object"}),
    "no items": Odd(one("list", {"type": "array"})),
    "no items inside": Odd(one("list", {"type": "array", "items": {"type": "array"}})),
    "tuple of 2020": Odd(one("pair", {"type": "array", "prefixItems": [TEXT, TEXT]})),
    # what draft 2020-12 does not allow
    "no type": Odd({}),
    "null type": Odd({"type": None}, ("type",), ("type",)),
    "null type inside": Odd(
        one("any", {"type": None}), ("properties.any.type",), ("properties.any.type",)
    ),
    "invented type": Odd(
        one("any", {"type": "any"}), ("properties.any.type",), ("properties.any.type",)
    ),
    "null description": Odd(
        one("a", TEXT | {"description": None}),
        ("properties.a.description",),
        ("properties.a.description",),
    ),
    "required as a flag": Odd(
        one("a", TEXT | {"required": True}), ("properties.a.required",), ("properties.a.required",)
    ),
    "minimum as a flag": Odd(
        one("a", {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
        ("properties.a.exclusiveMinimum",),
        ("properties.a.exclusiveMinimum",),
    ),
    "properties as a list": Odd(
        {"type": "object", "properties": []}, ("properties",), ("properties",)
    ),
    "null properties": Odd(
        {"type": "object", "properties": None}, ("properties",), ("properties",)
    ),
    "null property": Odd(one("a", None), ("properties.a",), ("properties.a",)),
    "items as a list": Odd(
        one("pair", {"type": "array", "items": [TEXT, {"type": "number"}]}),
        ("properties.pair.items",),
        ("properties.pair.items",),
    ),
    "empty choice": Odd(one("a", {"anyOf": []}), ("properties.a.anyOf",), ("properties.a.anyOf",)),
    "empty enum": Odd(one("a", {"enum": []}), ("properties.a.enum",), ("properties.a.enum",)),
    # roots that are no single object
    "any of two": Odd(
        {"type": "object", "anyOf": [one("a", TEXT), one("b", TEXT)]}, ("anyOf",), ("anyOf",)
    ),
    "one of, no type": Odd(
        {"oneOf": [one("a", TEXT), one("a", {"type": "number"})]}, ("oneOf",), ("oneOf",)
    ),
    "all of references": Odd(
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": one("a", TEXT) | {"required": ["a"]}}},
        ("allOf",),
        ("allOf",),
    ),
    "not": Odd({"type": "object", "properties": {}, "not": {"required": ["a"]}}, ("not",)),
    "enum of objects": Odd({"type": "object", "enum": [{"a": 1}]}, ("enum",)),
    "text": Odd(TEXT, ("type",), ("type",)),
}
