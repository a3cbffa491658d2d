"""JSON schemas, repaired for the vendor that is going to read them: the one place for all of these
rules.

Clients send schemas that one vendor takes and the other refuses with a 400 for the whole session.
`for_openai` returns draft 2020-12 as OpenAI reads it: every pattern compiles with Python's `re`, a
root has `properties`, an array has `items`. `for_anthropic` returns draft 2020-12 as the Messages
service reads it, with names for a tool's arguments that the service takes
(`shared/formats/property_keys.py`). What both vendors promise to keep to the letter is a smaller
dialect: `shared/formats/strict_schemas.py`.

Invariants: the client's schema is never changed in place; a schema without a fault comes back as
the same object; a keyword that could not be kept is listed in `lost` by its path; the same schema
always gives the same repair, because prompt caches hang on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from shared.formats.ir import Json
from shared.formats.property_keys import changed_keys, with_taken_keys
from shared.runtime.errors import ClientError

Reader = Literal["openai", "anthropic"]

DEEPEST = 60  # levels of a schema; the official SDKs and vendors' own tools stay below 10
TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SINGLES = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
COMBINATORS = ("anyOf", "oneOf", "allOf")
REFUSED_AT_ROOT: dict[Reader, tuple[str, ...]] = {
    "openai": (*COMBINATORS, "enum", "not"),
    "anthropic": COMBINATORS,
}
"""What the vendors refuse at the root of a tool's schema, by their own error messages."""


class Repaired(NamedTuple):
    """A schema accepted by the reader, and the paths of the client's keywords that were
    left out.
    """

    schema: Json
    lost: tuple[str, ...]
    renamed: Mapping[str, str] = MappingProxyType({})


def for_openai(schema: Json | None, *, is_tool: bool = True) -> Repaired:
    """Return `schema` as accepted by OpenAI. Raises ClientError for more than `DEEPEST` levels."""
    return _repaired(schema, "openai", is_tool=is_tool)


def for_anthropic(schema: Json | None, *, is_tool: bool = True) -> Repaired:
    """Return `schema` as accepted by the Messages service. Raises ClientError for more than
    `DEEPEST` levels.
    """
    return _repaired(schema, "anthropic", is_tool=is_tool)


def _repaired(schema: Json | None, reader: Reader, *, is_tool: bool) -> Repaired:
    repair = _Repair(reader)
    repaired = repair.node(schema or {}, "", 0)
    renamed: dict[str, str] = {}
    if is_tool:
        # The root comes before the keys: properties that were in a combinator's branches stand in
        # the root only after this step.
        repaired = repair.root(repaired)
        renamed = changed_keys(repaired) if reader == "anthropic" else renamed
        repaired = with_taken_keys(repaired, renamed)
    elif reader == "openai" and repaired.get("type") == "object" and "properties" not in repaired:
        repaired = {**repaired, "properties": {}}
    return Repaired(repaired, tuple(dict.fromkeys(repair.lost)), renamed)


# --- what a keyword's value must be --------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_list(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, str) for item in value)
        and len(set(value)) == len(value)
    )


def _is_type(value: object) -> bool:
    if isinstance(value, str):
        return value in TYPES
    return _is_text_list(value) and bool(value) and TYPES.issuperset(value)  # type: ignore[arg-type]


_VALID: Mapping[str, Callable[[object], bool]] = {
    "type": _is_type,
    "required": _is_text_list,
    "enum": lambda value: isinstance(value, list) and bool(value),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _is_number
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        _is_count,
    ),
    **dict.fromkeys(
        ("pattern", "format", "title", "description", "$ref", "$schema", "$id"), _is_text
    ),
}


@lru_cache(maxsize=4096)
def compiles(pattern: str) -> bool:
    """Return True if Python's `re`, used by OpenAI's validator, can compile `pattern`."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


_GONE = object()


class _Repair:
    """A walk through a schema. `lost` collects the paths of removed keywords."""

    def __init__(self, reader: Reader) -> None:
        self.reader: Reader = reader
        self.lost: list[str] = []

    def node(self, schema: Json, path: str, depth: int) -> Json:
        """Return `schema` with every keyword repaired; the same object when no keyword had to
        change.
        """
        if depth > DEEPEST:
            raise ClientError(
                f"A JSON schema has more than {DEEPEST} levels: make it flatter.",
                param=path or None,
            )
        repaired = schema
        for keyword, value in schema.items():
            kept = self.value(keyword, value, f"{path}.{keyword}" if path else keyword, depth)
            if kept is value:
                continue
            # The first change makes the one copy. A schema without a fault stays the client's own
            # object.
            if repaired is schema:
                repaired = dict(schema)
            if kept is _GONE:
                del repaired[keyword]
            else:
                repaired[keyword] = kept
        # Last, because the loop may have just removed a faulty `items` or `prefixItems`.
        lacks_items = (
            repaired.get("type") == "array"
            and "items" not in repaired
            and "prefixItems" not in repaired
        )
        return {**repaired, "items": {}} if lacks_items and self.reader == "openai" else repaired

    def value(self, keyword: str, value: Any, path: str, depth: int) -> Any:
        """Return the keyword's value as accepted by the reader, or `_GONE`."""
        if keyword in MAPS:
            return self.map(keyword, value, path, depth)
        if keyword in LISTS:
            return self.list(value, path, depth)
        if keyword in SINGLES:
            return self.single(keyword, value, path, depth)
        is_valid = _VALID.get(keyword)
        if is_valid is not None and not is_valid(value):
            return self.gone(path)
        if keyword == "pattern" and self.reader == "openai" and not compiles(value):
            return self.gone(path)
        return value

    def gone(self, path: str) -> object:
        self.lost.append(path)
        return _GONE

    def map(self, keyword: str, value: Any, path: str, depth: int) -> Any:
        """A map of names to schemas; in `patternProperties` the names are patterns."""
        if not isinstance(value, dict):
            return self.gone(path)
        kept: Json = {}
        for name, inner in value.items():
            where = f"{path}.{name}"
            if keyword == "patternProperties" and self.reader == "openai" and not compiles(name):
                self.lost.append(where)
                continue
            schema = self.inner(inner, where, depth)
            if schema is not _GONE:
                kept[name] = schema
        unchanged = len(kept) == len(value) and all(
            kept[name] is inner for name, inner in value.items()
        )
        return value if unchanged else kept

    def list(self, value: Any, path: str, depth: int) -> Any:
        if not isinstance(value, list) or not value:
            return self.gone(path)
        inners = [self.inner(inner, f"{path}[]", depth) for inner in value]
        kept = [inner for inner in inners if inner is not _GONE]
        if not kept:
            return self.gone(path)
        unchanged = len(kept) == len(value) and all(
            new is old for new, old in zip(kept, value, strict=True)
        )
        return value if unchanged else kept

    def single(self, keyword: str, value: Any, path: str, depth: int) -> Any:
        """Return one schema. `items` was a list before draft 2020-12: then any member may stand at
        any place.
        """
        if keyword == "items" and isinstance(value, list):
            self.lost.append(path)
            # The list form fixed a schema for each place. Its members become alternatives, which is
            # looser and still valid for every value that was valid before.
            members = self.list(value, path, depth) if value else _GONE
            return {} if members is _GONE else {"anyOf": members}
        return self.inner(value, path, depth)

    def inner(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, bool):
            return value
        if not isinstance(value, dict):
            return self.gone(path)
        return self.node(value, path, depth + 1)

    def root(self, schema: Json) -> Json:
        """Return the root of a tool's schema: one object with properties, without a choice between
        several objects.
        """
        refused = [keyword for keyword in REFUSED_AT_ROOT[self.reader] if keyword in schema]
        self.lost += refused
        if refused:
            schema = without_combinators(schema, refused)
        if schema.get("type") != "object":
            if "type" in schema:
                self.lost.append("type")
            schema = {**schema, "type": "object"}
        return schema if "properties" in schema else {**schema, "properties": {}}


# --- combinators at the root ---------------------------------------------------------------------


def without_combinators(schema: Json, refused: list[str]) -> Json:
    """Return `schema` with the properties of all alternatives in one object, and the alternatives'
    rule in the description.

    A property is required if every alternative of an `anyOf` or `oneOf` requires it, or any part of
    an `allOf`.
    """
    merged = {keyword: value for keyword, value in schema.items() if keyword not in refused}
    properties: Json = dict(merged.get("properties") or {})
    required = dict.fromkeys(merged.get("required") or [])
    for keyword in COMBINATORS:
        if keyword not in refused:
            continue
        branches = [branch for inner in schema[keyword] if (branch := resolved(inner, schema))]
        for branch in branches:
            for name, inner in (branch.get("properties") or {}).items():
                # Two branches may give one property different schemas; either may be the one that
                # the model needs.
                properties[name] = either(properties[name], inner) if name in properties else inner
        needed = [dict.fromkeys(branch.get("required") or []) for branch in branches]
        # Every part of an `allOf` holds, so each part's requirements hold. Of alternatives only one
        # holds, so a property is surely required if all of them require it.
        if keyword == "allOf":
            required.update({name: None for names in needed for name in names})
        elif needed:
            required.update(
                {name: None for name in needed[0] if all(name in names for names in needed)}
            )
    if properties:
        merged["properties"] = properties
    if required:
        merged["required"] = list(required)
    # The model still reads the exact rule, in words, though the vendor no longer checks it.
    rule = json.dumps({keyword: schema[keyword] for keyword in refused}, ensure_ascii=False)
    said = merged.get("description")
    merged["description"] = (
        f"{said}\n\nThe arguments must match: {rule}"
        if said
        else f"The arguments must match: {rule}"
    )
    return merged


def resolved(inner: Any, root: Json) -> Json:
    """Return the schema behind a local `$ref`, with the keywords beside the reference;
    {} for none.
    """
    if not isinstance(inner, dict):
        return {}
    # Draft 2020-12 lets keywords stand beside a reference; they hold as well.
    target = definition(inner.get("$ref"), root)
    return {**target, **inner} if target else inner


def definition(reference: Any, root: Json) -> Json:
    """Return the schema named by a reference like `#/$defs/name`; {} if there is none."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return {}
    found: Any = root
    for step in reference[2:].split("/"):
        # JSON pointer order: `~1` first, else `~01` would become a slash.
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def either(first: Any, second: Any) -> Any:
    """Return a schema for every value allowed by `first` or by `second`."""
    if first == second:
        return first
    known = first.get("anyOf") if isinstance(first, dict) and first.keys() == {"anyOf"} else None
    choices = known or [first]
    return {"anyOf": choices if second in choices else [*choices, second]}


def nodes(schema: Any) -> Iterator[Json]:
    """Every object schema inside `schema`, itself first."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, value in schema.items():
        if keyword in MAPS and isinstance(value, dict):
            for inner in value.values():
                yield from nodes(inner)
        elif keyword in LISTS and isinstance(value, list):
            for inner in value:
                yield from nodes(inner)
        elif keyword in SINGLES:
            yield from nodes(value)
