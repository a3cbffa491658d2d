"""JSON schemas as both services check them before a model sees one.

A check yields the first flaw of a schema as its context (the path inside the schema) and the
problem. The services word the answer around these in their own way. Invariant: a schema without a
flaw in the walk is a valid JSON Schema of draft 2020-12, as far as its structure goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]
Context = tuple[str, ...]

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SINGLES = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
ROOT_COMBINATORS = ("oneOf", "anyOf", "allOf", "enum", "not")


class Flaw(NamedTuple):
    """`context` is the path of the faulty part, `problem` the reason in the words of a
    validator.
    """

    context: Context
    problem: str


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_text_list(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, str) for item in value)
        and len(set(value)) == len(value)
    )


def is_type(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and is_text_list(value) and TYPES.issuperset(value)
    return isinstance(value, str) and value in TYPES


VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "type": (is_type, "is not valid under any of the given schemas"),
    "required": (is_text_list, "is not of type 'array'"),
    "enum": (lambda value: isinstance(value, list), "is not of type 'array'"),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        (is_number, "is not of type 'number'"),
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (is_count, "is not of type 'integer'"),
    ),
    **dict.fromkeys(
        ("pattern", "format", "title", "description", "$ref", "$schema", "$id"),
        (lambda value: isinstance(value, str), "is not of type 'string'"),
    ),
}


def schema_nodes(schema: Any, context: Context = ()) -> Iterator[tuple[Context, Any]]:
    """Yield every schema inside `schema` with the context, `schema` first. Properties are not
    mistaken for keywords.
    """
    yield context, schema
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in MAPS and isinstance(value, dict):
            for name, inner in value.items():
                yield from schema_nodes(inner, (*context, keyword, name))
        elif keyword in LISTS and isinstance(value, list):
            for place, inner in enumerate(value):
                yield from schema_nodes(inner, (*context, keyword, str(place)))
        elif keyword in SINGLES:
            yield from schema_nodes(value, (*context, keyword))


def structure_flaw(schema: Any) -> Flaw | None:
    """Return the first part forbidden by draft 2020-12."""
    for context, node in schema_nodes(schema):
        # A schema may be `true` or `false`, for everything and nothing.
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            return Flaw(context, f"{node!r} is not of type 'object', 'boolean'")
        for keyword, value in node.items():
            if keyword in MAPS and not isinstance(value, dict):
                return Flaw((*context, keyword), f"{value!r} is not of type 'object'")
            if keyword in LISTS and not (isinstance(value, list) and value):
                return Flaw((*context, keyword), f"{value!r} is not of type 'array'")
            fits, problem = VALUES.get(keyword, (None, ""))
            if fits is not None and not fits(value):
                return Flaw((*context, keyword), f"{value!r} {problem}")
    return None


def python_flaw(schema: Any) -> Flaw | None:
    """Return the first pattern Python's `re` cannot compile, or array without `items`."""
    for context, node in schema_nodes(schema):
        if not isinstance(node, dict):
            continue
        # The names in `patternProperties` are patterns too.
        patterns = [node["pattern"]] if "pattern" in node else []
        for pattern in [*patterns, *node.get("patternProperties", {})]:
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError):
                return Flaw(context, f"{pattern!r} is not a 'regex'")
        if node.get("type") == "array" and "items" not in node and "prefixItems" not in node:
            return Flaw(context, "array schema missing items")
    return None


# --- strict schemas of the Messages service ------------------------------------------------------

STRICT_KEYWORDS = frozenset(
    {
        "$ref", "$defs", "definitions", "type", "title", "description", "enum", "const",
        "default", "required", "properties", "additionalProperties", "items", "anyOf", "allOf",
        "format", "minItems",
    }
)  # fmt: skip


def strict_flaw(schema: Any) -> Flaw | None:
    """Return the first part beyond constrained output: an open object, a recursion, an unknown
    keyword.
    """
    for context, node in schema_nodes(schema):
        if not isinstance(node, dict):
            continue
        kinds = node.get("type")
        if (
            "object" in (kinds if isinstance(kinds, list) else [kinds])
            and node.get("additionalProperties") is not False
        ):
            return Flaw(
                context, "For 'object' type, 'additionalProperties' must be explicitly set to false"
            )
        if unknown := sorted(node.keys() - STRICT_KEYWORDS):
            return Flaw(
                context, f"For '{kinds}' type, properties {', '.join(unknown)} are not supported"
            )
        if node.get("minItems", 0) not in (0, 1):
            return Flaw(
                context, "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
            )
        if any(isinstance(value, (dict, list)) for value in node.get("enum", [])):
            return Flaw(context, "Enum values must be strings, numbers, booleans or null")
        if any(isinstance(inner, dict) and "$ref" in inner for inner in node.get("allOf", [])):
            return Flaw(context, "'allOf' with '$ref' is not supported")
        if not str(node.get("$ref", "#/")).startswith("#/"):
            return Flaw(context, "External '$ref' is not supported")
    recursive = circular_reference(schema)
    return (
        Flaw((), f"Circular reference detected in schema definitions: {recursive}")
        if recursive
        else None
    )


def circular_reference(schema: Any) -> str:
    """Return the name of a recursive definition; an empty text if there is none."""
    if any(isinstance(node, dict) and node.get("$ref") == "#" for _, node in schema_nodes(schema)):
        return "#"
    definitions = (
        {**schema.get("definitions", {}), **schema.get("$defs", {})}
        if isinstance(schema, dict)
        else {}
    )
    uses: dict[str, set[str]] = {
        name: referenced_schemas(inner) for name, inner in definitions.items()
    }
    for name, used in uses.items():
        seen: set[str] = set()
        waiting = set(used)
        # Follows the references from each definition; one that comes back to its start is a
        # recursion.
        while waiting:
            other = waiting.pop()
            if other == name:
                return name
            if other not in seen:
                seen.add(other)
                waiting |= uses.get(other, set())
    return ""


def referenced_schemas(schema: Any) -> set[str]:
    """Return the names of the definitions in the references of `schema`."""
    references = (node.get("$ref") for _, node in schema_nodes(schema) if isinstance(node, dict))
    return {str(reference).rpartition("/")[2] for reference in references if reference}


class StrictCost(NamedTuple):
    """The share of a strict schema in a request's budget."""

    optional: int
    unions: int


def strict_cost(schema: Any) -> StrictCost:
    """Return the number of optional parameters, and of parameters with several types."""
    optional = unions = 0
    for _, node in schema_nodes(schema):
        if isinstance(node, dict):
            optional += len(set(node.get("properties", {})) - set(node.get("required", [])))
            unions += "anyOf" in node or isinstance(node.get("type"), list)
    return StrictCost(optional, unions)
