"""A JSON Schema as structured output and strict tools take it: closed objects, and only the keywords they know.

What a keyword asked for is not lost: it is told to the model in the description.
"""

from __future__ import annotations

import json
from typing import Any

from shared.formats.ir import Json

# What the official SDKs leave in a schema before they send it; anything else is answered with a 400.
KEPT = frozenset({"$ref", "type", "title", "description", "enum", "const", "default", "required"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})


def strict_schema(schema: Json) -> Json:
    """The same type in the accepted dialect; the argument is left alone."""
    strict: Json = {}
    told: Json = {}
    for keyword, value in schema.items():
        match keyword, value:
            case "$defs" | "definitions" | "properties", dict():
                strict[keyword] = {name: _inner(inner) for name, inner in value.items()}
            case "anyOf" | "allOf", list():
                strict[keyword] = [_inner(inner) for inner in value]
            case "oneOf", list():
                strict["anyOf"] = [_inner(inner) for inner in value]
            case "items", dict():
                strict["items"] = strict_schema(value)
            case "additionalProperties" | "$schema", _:
                continue
            case _ if keyword in KEPT or (keyword == "minItems" and value in (0, 1)):
                strict[keyword] = value
            case "format", str() if value in FORMATS:
                strict["format"] = value
            case _:
                told[keyword] = value
    if strict.get("type") == "object" or "properties" in strict:
        strict["additionalProperties"] = False
    if told:
        rules = json.dumps(told, ensure_ascii=False)
        strict["description"] = f"{strict['description']}\n\n{rules}" if strict.get("description") else rules
    return strict


def _inner(schema: Any) -> Any:
    return strict_schema(schema) if isinstance(schema, dict) else schema
