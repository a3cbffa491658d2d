"""JSON somebody else wrote: what becomes of each field, and typed looks that name the path when they fail.

A format declares one table, field name to `Fate`; its reader obeys that table and the reference documentation lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from shared.errors import ClientError
from shared.formats.ir import Json

T = TypeVar("T")


class Fate(NamedTuple):
    """What becomes of a request's field. Null and the `harmless` values (the vendor's defaults) are always fine.

    carried: the prompt has it. ignored: the gateway acts on it, or leaving it out changes nothing. dropped: left out,
    and the caller is told. refused: 400, with the note as the reason.
    """

    kind: Literal["carried", "ignored", "dropped", "refused"]
    note: str = ""
    harmless: tuple[Any, ...] = ()


def judge(body: Json, fates: Mapping[str, Fate]) -> list[str]:
    """The fields to drop. Raises ClientError for refused and for unknown ones."""
    if unknown := [name for name, value in body.items() if value is not None and name not in fates]:
        plural = "s" if len(unknown) > 1 else ""
        raise ClientError(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}", param=unknown[0])
    dropped = []
    for name, value in body.items():
        if value is None or value in fates[name].harmless:
            continue
        if fates[name].kind == "refused":
            raise refused(name, fates[name].note)
        if fates[name].kind == "dropped":
            dropped.append(name)
    return dropped


def refused(path: str, why: str) -> ClientError:
    return ClientError(f"Unsupported parameter: '{path}': {why}.", param=path)


def missing(path: str) -> ClientError:
    return ClientError(f"Missing required parameter: '{path}'.", param=path)


_TYPE_NAMES = {
    str: "a string",
    dict: "an object",
    list: "an array",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def wrong_type(value: Any, expected: str, path: str) -> ClientError:
    found = _TYPE_NAMES.get(type(value), type(value).__name__)
    return ClientError(f"Invalid type for '{path}': expected {expected}, but got {found} instead.", param=path)


def invalid(value: Any, path: str, rule: str) -> ClientError:
    return ClientError(f"Invalid value for '{path}': {_shorten(value)}. {rule}", param=path)


def _shorten(value: Any, limit: int = 60) -> str:
    text = repr(value[:limit] if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def expect(value: Any, kind: type[T], path: str) -> T:
    """`value`, when it is a `kind`; a boolean is no integer."""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise wrong_type(value, _TYPE_NAMES[kind], path)


def required(owner: Json, name: str, kind: type[T], path: str = "") -> T:
    value = owner.get(name)
    if value is None:
        raise missing(join(path, name))
    return expect(value, kind, join(path, name))


def optional(owner: Json, name: str, kind: type[T], path: str = "") -> T | None:
    """None when the field is absent or null."""
    value = owner.get(name)
    return None if value is None else expect(value, kind, join(path, name))


def optional_number(owner: Json, name: str, low: float, high: float, path: str = "") -> float | None:
    value = owner.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(value, "a number", join(path, name))
    if not low <= value <= high:
        raise invalid(value, join(path, name), f"Expected a number from {low:g} to {high:g}.")
    return value


def optional_count(owner: Json, name: str, path: str = "") -> int | None:
    """A positive integer."""
    value = optional(owner, name, int, path)
    if value is not None and value < 1:
        raise invalid(value, join(path, name), "Expected an integer of at least 1.")
    return value


def one_of(value: str, values: Iterable[str], path: str) -> str:
    if value in (values := tuple(values)):
        return value
    raise invalid(value, path, f"Supported values are: {', '.join(map(repr, values))}.")


def optional_choice(owner: Json, name: str, values: Iterable[str], path: str = "") -> str | None:
    value = optional(owner, name, str, path)
    return None if value is None else one_of(value, values, join(path, name))


def objects(value: Any, path: str) -> list[tuple[Json, str]]:
    """The objects of a list, each with its path."""
    paths = [(item, f"{path}[{number}]") for number, item in enumerate(expect(value, list, path))]
    return [(expect(item, dict, where), where) for item, where in paths]


def optional_objects(owner: Json, name: str, path: str = "") -> list[tuple[Json, str]]:
    return [] if owner.get(name) is None else objects(owner[name], join(path, name))


def unknown(owner: Json, known: Iterable[str], path: str = "") -> list[str]:
    """The fields of one object that nobody here knows, by a path without indexes."""
    where = _INDEX.sub("[]", path)
    return [join(where, name) for name, value in owner.items() if value is not None and name not in known]


def strangers(value: Any, path: str, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """The fields nobody here knows, in every object whose path is in `known`.

    Paths have no indexes ("messages[].weight"), so that a long conversation names each once.
    """
    if isinstance(value, list):
        for item in value:
            yield from strangers(item, f"{path}[]", known)
    elif isinstance(value, dict) and path in known:
        for name, inner in value.items():
            if name not in known[path]:
                if inner is not None:
                    yield join(path, name)
            elif isinstance(inner, (dict, list)):
                yield from strangers(inner, join(path, name), known)


def words_of(text: str) -> str:
    """A provider's own words for a refusal; a proxy's HTML page says nothing a client should show."""
    return text[:2000] if text and not text.lstrip().startswith("<") else "The provider gave no reason."


def filled(**fields: Any) -> Json:
    """The fields that say something; numbers and booleans always do."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


_INDEX = re.compile(r"\[\d+\]")


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
