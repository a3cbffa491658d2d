"""Argument names of a tool that Anthropic refuses: a name it takes on the way out, the client's
name on the way back.

The service checks the keys of a tool's root `properties` and no deeper ones. One refused key fails
the whole request, and MCP servers write keys like `filter[id]`, so a tool keeps working under
changed names.

Invariants: a key that the service takes is never changed, and a schema of such keys comes back as
the same object; a changed key ends in a hash of the client's key, so different keys stay different,
and a key always gets the same name, because prompt caches hang on it. Restored arguments differ
from the model's text in these keys only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from shared.formats.ir import Json

TAKEN = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_HASH_LENGTH = 8
_KEPT_LENGTH = 64 - 1 - _HASH_LENGTH
_INTO_PROPERTIES = "#/properties/"
# an escape is one mark, so its quote closes nothing
_MARKS = re.compile(r'\\.|\\|["{}\[\],]', re.DOTALL)


def wire_key(key: str) -> str:
    """Return `key` in a form for the service: unchanged, or with a hash of `key` at the end."""
    if TAKEN.fullmatch(key):
        return key
    readable = re.sub(r"[^a-zA-Z0-9_.-]", "_", key)[:_KEPT_LENGTH]
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}_{digest[:_HASH_LENGTH]}"


def changed_keys(schema: Json) -> dict[str, str]:
    """Return the root properties of `schema` in need of a new name, with the new names."""
    return {
        key: wire_key(key) for key in schema.get("properties") or () if not TAKEN.fullmatch(key)
    }


def with_taken_keys(schema: Json, names: Mapping[str, str]) -> Json:
    """Return `schema` with its root properties called by `names`, wherever the schema names a root
    property.

    A renamed property without a title gets the client's key as its title, so that the model can
    read the key.
    """
    if not names:
        return schema
    renamed: Json = _with_references(schema, names)
    properties: Json = {}
    for key, inner in renamed["properties"].items():
        may_have_title = key in names and isinstance(inner, dict) and "$ref" not in inner
        properties[names.get(key, key)] = {"title": key, **inner} if may_have_title else inner
    renamed["properties"] = properties
    if isinstance(renamed.get("required"), list):
        renamed["required"] = [names.get(key, key) for key in renamed["required"]]
    for keyword in ("dependentRequired", "dependentSchemas"):
        if isinstance(renamed.get(keyword), dict):
            renamed[keyword] = {
                names.get(key, key): inner for key, inner in renamed[keyword].items()
            }
    if isinstance(renamed.get("dependentRequired"), dict):
        renamed["dependentRequired"] = {
            key: [names.get(needed, needed) for needed in inner] if _is_text_list(inner) else inner
            for key, inner in renamed["dependentRequired"].items()
        }
    return renamed


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _with_references(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of `value` in which references into the root properties lead to the
    new names.
    """
    if isinstance(value, list):
        return [_with_references(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    copied = {key: _with_references(inner, names) for key, inner in value.items()}
    reference = copied.get("$ref")
    if isinstance(reference, str) and reference.startswith(_INTO_PROPERTIES):
        step, slash, rest = reference.removeprefix(_INTO_PROPERTIES).partition("/")
        key = step.replace("~1", "/").replace("~0", "~")
        copied["$ref"] = f"{_INTO_PROPERTIES}{names.get(key, step)}{slash}{rest}"
    return copied


def with_names(arguments: Json, names: Mapping[str, str]) -> Json:
    """Return a call's arguments under the new names, as the model wrote them when it
    made the call.
    """
    if not names:
        return arguments
    return {names.get(key, key): value for key, value in arguments.items()}


class KeyRestorer:
    """The arguments of a call with the client's keys, fed as the streamed pieces of JSON text.

    `names` are those of `changed_keys`. Only keys of the outermost object are restored; every other
    character passes at once. A key is held back until its closing quote has come.
    """

    __slots__ = ("_after_backslash", "_client_keys", "_depth", "_held", "_in_string", "_key_next")

    def __init__(self, names: Mapping[str, str]) -> None:
        self._client_keys = {wire: key for key, wire in names.items()}
        self._depth = 0
        self._in_string = False
        self._after_backslash = False
        self._key_next = False
        self._held: list[str] | None = None  # the key being read, with its opening quote

    def feed(self, text: str) -> str:
        """Return the part of the arguments that is known after `text`."""
        if not text:
            return ""
        passed: list[str] = []
        start = 0  # where the part of `text` begins that is neither passed nor held
        # A piece may begin with the second half of an escape: that character closes no string.
        first = 1 if self._after_backslash else 0
        self._after_backslash = False
        for mark in _MARKS.finditer(text, first):
            sign = mark[0]
            if sign.startswith("\\"):
                self._after_backslash = len(sign) == 1  # at the end of `text` only
            elif sign == '"' and self._in_string:
                self._in_string = False
                if self._held is not None:
                    self._held.append(text[start : mark.end()])
                    passed.append(self._restored("".join(self._held)))
                    self._held = None
                    start = mark.end()
            elif sign == '"':
                self._in_string = True
                if self._key_next:
                    passed.append(text[start : mark.start()])
                    self._held = []
                    start = mark.start()
                self._key_next = False
            elif not self._in_string:
                self._depth += (sign in "{[") - (sign in "}]")
                # In the outermost object a key follows the opening brace and every comma.
                self._key_next = self._depth == 1 and sign in "{,"
        target = passed if self._held is None else self._held
        target.append(text[start:])
        return "".join(passed)

    def end(self) -> str:
        """Return the held-back text of arguments broken off inside a key."""
        held = "".join(self._held or ())
        self._held = None
        return held

    def _restored(self, written: str) -> str:
        try:
            key = self._client_keys.get(json.loads(written))
        except ValueError:  # not JSON: the client sees what the model wrote
            key = None
        return written if key is None else json.dumps(key)
