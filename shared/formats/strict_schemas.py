"""JSON schemas that a vendor promises to keep to the letter: structured output and strict tools.

Anthropic knows a small dialect of closed objects, and has one budget for all strict schemas of a
request. OpenAI takes a schema as strict only if every object is closed and every property required.
The general repair, which these build upon, is in `shared/formats/schemas.py`.
"""

from __future__ import annotations

import json
from typing import Any

from shared.formats.ir import Json
from shared.formats.schemas import Repaired, for_anthropic, nodes

# What the official SDKs leave in a schema before they send it; anything else is answered with a
# 400.
KEPT = frozenset({"$ref", "type", "title", "description", "enum", "const", "default", "required"})
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
MOST_STRICT_TOOLS = 20
MOST_OPTIONAL = 24
MOST_UNIONS = 16
"""The budget of one request to Anthropic, over all strict tools and the output's schema
(documented)."""


class StrictBudget:
    """The strict schemas of a request, admitted in order while the vendor's budget lasts."""

    __slots__ = ("_optional", "_tools", "_unions")

    def __init__(self) -> None:
        self._tools = MOST_STRICT_TOOLS
        self._optional = MOST_OPTIONAL
        self._unions = MOST_UNIONS

    def admit(self, schema: Json, *, is_tool: bool) -> bool:
        """Take the schema's share of the budget. Return False if the budget is too small."""
        optional = unions = 0
        for node in nodes(schema):
            optional += len(set(node.get("properties") or {}) - set(node.get("required") or []))
            unions += "anyOf" in node or isinstance(node.get("type"), list)
        # Checked as a whole before anything is taken: a schema is admitted entirely or not at all.
        if optional > self._optional or unions > self._unions or (is_tool and not self._tools):
            return False
        self._optional -= optional
        self._unions -= unions
        self._tools -= is_tool
        return True


def qualifies_for_openai(schema: Any) -> bool:
    """Return True if OpenAI accepts `schema` as strict: every object closed, every property
    required.
    """
    return all(
        node.get("additionalProperties") is False
        and set(node.get("properties") or {}) <= set(node.get("required") or [])
        for node in nodes(schema)
        if is_object(node)
    )


def is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return (
        kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
    )


def strict_for_anthropic(schema: Json, *, is_tool: bool = False) -> Repaired | None:
    """Return the same type in the dialect of structured output, or None if the dialect cannot say
    the type.

    A keyword the dialect lacks is told to the model in the description. An open object and a
    recursive type can be told nowhere: closing the first would forbid what the client asked for.
    """
    valid = for_anthropic(schema, is_tool=False)
    if not all(_can_be_strict(node) for node in nodes(valid.schema)) or _is_recursive(valid.schema):
        return None
    # Repaired again as a tool, because only a tool's root has to be one object, and its keys may
    # get other names.
    if is_tool:
        valid = for_anthropic(schema)
    return Repaired(_strict(valid.schema), valid.lost, valid.renamed)


def _can_be_strict(node: Json) -> bool:
    if is_object(node):
        if node.get("additionalProperties") not in (None, False) or node.get("patternProperties"):
            return False
        if "properties" not in node and node.get("additionalProperties") is None:
            return False  # any object at all
    if not str(node.get("$ref", "#/")).startswith("#/"):
        return False  # the whole schema again, or a document elsewhere
    parts = node.get("allOf") or []
    return len(parts) < 2 or not any(isinstance(part, dict) and "$ref" in part for part in parts)


def _is_recursive(schema: Json) -> bool:
    """Return True if a definition contains itself, over any number of further definitions."""
    definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
    uses = {name: _references(inner) for name, inner in definitions.items()}
    for name, used in uses.items():
        seen: set[str] = set()
        waiting = set(used)
        # Follows the references from each definition; one that comes back to its start is a
        # recursion.
        while waiting:
            other = waiting.pop()
            if other == name:
                return True
            if other not in seen:
                seen.add(other)
                waiting |= uses.get(other, set())
    return False


def _references(schema: Any) -> set[str]:
    return {str(node["$ref"]).rpartition("/")[2] for node in nodes(schema) if "$ref" in node}


def _strict(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    strict: Json = {}
    told: Json = {}
    for keyword, value in schema.items():
        match keyword, value:
            case "$defs" | "definitions" | "properties", dict():
                strict[keyword] = {name: _strict(inner) for name, inner in value.items()}
            case "allOf", [{"$ref": _} as only]:
                # a reference that only its neighbours stand beside, as pydantic 1 writes it
                strict |= only
            case "anyOf" | "allOf", list():
                strict[keyword] = [_strict(inner) for inner in value]
            case "oneOf", list():
                strict["anyOf"] = [_strict(inner) for inner in value]
            case "items", dict():
                strict["items"] = _strict(value)
            case "additionalProperties" | "$schema", _:
                continue
            case "enum", list() if any(isinstance(choice, (dict, list)) for choice in value):
                told["enum"] = value
            case _ if keyword in KEPT or (keyword == "minItems" and value in (0, 1)):
                strict[keyword] = value
            case "format", str() if value in FORMATS:
                strict["format"] = value
            case _:
                told[keyword] = value
    if is_object(strict):
        strict["additionalProperties"] = False
    if told:
        rules = json.dumps(told, ensure_ascii=False)
        strict["description"] = (
            f"{strict['description']}\n\n{rules}" if strict.get("description") else rules
        )
    return strict
