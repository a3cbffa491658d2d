"""The plainest value a JSON schema allows: what a simulated model fills a tool's input or a
structured reply with.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 8  # a schema may refer to itself
PLAIN: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
    "array": [],
}


def sample(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return a value for `schema` as far as no search is needed; `root` resolves local `$ref`s."""
    root = schema if root is None else root
    # The depth ends a schema that refers to itself; its value may then not fit.
    if not isinstance(schema, dict) or depth == DEEPEST:
        return "text"
    if reference := schema.get("$ref"):
        return sample(_resolve(root, reference), root, depth + 1)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return sample(choices[0], root, depth + 1)
    kind = schema.get("type", "object")
    kind = kind[0] if kind and isinstance(kind, list) else kind
    if kind == "array" and schema.get("minItems"):
        return [sample(schema.get("items"), root, depth + 1)] * schema["minItems"]
    if kind != "object":
        return PLAIN.get(str(kind), "text")
    properties = schema.get("properties") or {}
    return {
        name: sample(properties.get(name), root, depth + 1)
        for name in schema.get("required") or properties
    }


def _resolve(root: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        root = root.get(name) if isinstance(root, dict) else None
    return root
