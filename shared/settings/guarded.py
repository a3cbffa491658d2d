"""Guarded settings: those that a file of a working folder sets only once its owner has trusted the
file.

They decide where credentials go, which programs run, which files hold secrets, and who may come in
or approve. The mark stands on the field or on the whole section (`json_schema_extra=GUARDED`), so a
new setting of a guarded section is guarded without another list to keep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, JsonValue

from shared.settings.sources import KeyPath

Values = dict[str, Any]

MARK = "guarded"
GUARDED: dict[str, JsonValue] = {MARK: True}


def is_guarded(tree: type[BaseModel], path: KeyPath) -> bool:
    """Return True if the setting at `path` below `tree`, or a section around it, bears the mark."""
    section = tree
    for name in path:
        if _is_marked(section.model_config.get("json_schema_extra")):
            return True
        field = section.model_fields.get(name)
        if field is None:
            return False
        if _is_marked(field.json_schema_extra):
            return True
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return False
        section = inner
    return _is_marked(section.model_config.get("json_schema_extra"))


def _is_marked(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get(MARK) is True


def split_guarded(
    tree: type[BaseModel], values: Mapping[str, Any], above: KeyPath = ()
) -> tuple[Values, Values]:
    """Divide nested `values` into guarded settings and the rest. The two results share no table."""
    guarded: Values = {}
    rest: Values = {}
    for name, value in values.items():
        path = (*above, name)
        if is_guarded(tree, path):
            guarded[name] = value
        elif isinstance(value, dict):
            below, others = split_guarded(tree, value, path)
            if below:
                guarded[name] = below
            rest[name] = others
        else:
            rest[name] = value
    return guarded, rest


def flat(
    tree: type[BaseModel], values: Mapping[str, Any], above: KeyPath = ()
) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the settings in nested `values` with paths. A table as the value of a single setting
    stays whole.
    """
    for name, value in values.items():
        path = (*above, name)
        field = tree.model_fields.get(name)
        inner = field.annotation if field else None
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from flat(inner, value, path)
        else:
            yield path, value


def digest_of(values: Mapping[str, Any]) -> str:
    """Return a SHA-256 of nested `values`, independent of order and of comments."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
