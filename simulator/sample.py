"""The plainest value a JSON schema allows: what a simulated model fills a tool's input or a structured reply with."""

from __future__ import annotations

from functools import reduce
from typing import Any

PLAIN: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None, "array": []}


def sample(schema: Any, root: Any = None) -> Any:
    """A value fitting `schema` where that takes no search; `root` resolves its local `$ref`s."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return "text"
    if reference := schema.get("$ref"):
        return sample(reduce(lambda part, name: part[name], reference.removeprefix("#/").split("/"), root), root)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return sample(choices[0], root)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array" and schema.get("minItems"):
        return [sample(schema.get("items"), root)] * schema["minItems"]
    if kind != "object":
        return PLAIN.get(kind, "text")
    properties = schema.get("properties") or {}
    return {name: sample(properties.get(name), root) for name in schema.get("required") or properties}
