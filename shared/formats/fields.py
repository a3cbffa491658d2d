"""JSON somebody else wrote: what becomes of each field, and typed looks that name the path when
they fail.

A format declares one table, field name to `FieldPolicy`; its reader obeys that table and the
reference documentation lists it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from shared.runtime.errors import ClientError

T = TypeVar("T")


class FieldPolicy(NamedTuple):
    """The policy for one field of a request. Null and the `defaults` (the vendor's)
    always pass.

    carried: the prompt has the field. ignored: the gateway acts on the field, or leaving it out
    changes nothing. dropped: the field is left out, and the caller is told. refused: 400, with the
    note as the reason.
    """

    kind: Literal["carried", "ignored", "dropped", "refused"]
    note: str = ""
    defaults: tuple[Any, ...] = ()


def apply_policies(body: dict[str, Any], policies: Mapping[str, FieldPolicy]) -> list[str]:
    """Return the fields to drop. Raises ClientError for refused and for unknown fields."""
    if unknown := [
        name for name, value in body.items() if value is not None and name not in policies
    ]:
        plural = "s" if len(unknown) > 1 else ""
        raise ClientError(
            f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}",
            param=unknown[0],
        )
    dropped = []
    for name, value in body.items():
        if value is None or value in policies[name].defaults:
            continue
        if policies[name].kind == "refused":
            raise field_error(name, policies[name].note)
        if policies[name].kind == "dropped":
            dropped.append(name)
    return dropped


def field_error(path: str, why: str) -> ClientError:
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
    return ClientError(
        f"Invalid type for '{path}': expected {expected}, but got {found} instead.", param=path
    )


def invalid(value: Any, path: str, rule: str) -> ClientError:
    return ClientError(f"Invalid value for '{path}': {_shorten(value)}. {rule}", param=path)


def _shorten(value: Any, limit: int = 60) -> str:
    try:
        text = repr(value[:limit] if isinstance(value, str) else value)
    except RecursionError:
        text = "a deeply nested value"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def expect(value: Any, kind: type[T], path: str) -> T:
    """Return `value` if `value` is a `kind`; a boolean counts as no integer. Raises ClientError for
    any other type.
    """
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise wrong_type(value, _TYPE_NAMES[kind], path)


def one_of(value: str, values: Iterable[str], path: str) -> str:
    if value in (values := tuple(values)):
        return value
    raise invalid(value, path, f"Supported values are: {', '.join(map(repr, values))}.")


def objects(value: Any, path: str) -> list[Object]:
    """Return the objects of a list, with paths."""
    paths = [(item, f"{path}[{number}]") for number, item in enumerate(expect(value, list, path))]
    return [Object(expect(item, dict, where), where) for item, where in paths]


def texts(value: Any, path: str) -> tuple[str, ...]:
    """The strings of a list."""
    return tuple(
        expect(text, str, f"{path}[{number}]")
        for number, text in enumerate(expect(value, list, path))
    )


class Object:
    """A JSON object from outside with the object's path: a look-up of a wrong type raises an error
    with the field's name.

    Optional look-ups take null for absence.
    """

    __slots__ = ("path", "value")

    def __init__(self, value: dict[str, Any], path: str = "") -> None:
        self.value = value
        self.path = path

    def at(self, name: str) -> str:
        return join(self.path, name)

    def get(self, name: str) -> Any:
        return self.value.get(name)

    def required(self, name: str, kind: type[T]) -> T:
        value = self.value.get(name)
        if value is None:
            raise missing(self.at(name))
        return expect(value, kind, self.at(name))

    def optional(self, name: str, kind: type[T]) -> T | None:
        value = self.value.get(name)
        return None if value is None else expect(value, kind, self.at(name))

    def text(self, name: str) -> str:
        return self.required(name, str)

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(value, "a number", self.at(name))
        if not low <= value <= high:
            raise invalid(value, self.at(name), f"Expected a number from {low:g} to {high:g}.")
        return value

    def count(self, name: str) -> int | None:
        """A positive integer."""
        value = self.optional(name, int)
        if value is not None and value < 1:
            raise invalid(value, self.at(name), "Expected an integer of at least 1.")
        return value

    def one_of(self, name: str, values: Iterable[str]) -> str:
        return one_of(self.text(name), values, self.at(name))

    def choice(self, name: str, values: Iterable[str]) -> str | None:
        value = self.optional(name, str)
        return None if value is None else one_of(value, values, self.at(name))

    def object(self, name: str) -> Object:
        return Object(self.required(name, dict), self.at(name))

    def inner(self, name: str) -> Object:
        """Return the object called `name`; an empty object if absent."""
        return Object(self.optional(name, dict) or {}, self.at(name))

    def objects(self, name: str) -> list[Object]:
        """The objects of a list, none for none."""
        return [] if self.value.get(name) is None else objects(self.value[name], self.at(name))


def unknown_fields(value: Any, path: str, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield the unknown fields of every object with a path in `known`.

    Paths have no indexes ("messages[].weight"), so that a long conversation names each field once.
    """
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, f"{path}[]", known)
    elif isinstance(value, dict) and path in known:
        for name, inner in value.items():
            if name not in known[path]:
                if inner is not None:
                    yield join(path, name)
            elif isinstance(inner, (dict, list)):
                yield from unknown_fields(inner, join(path, name), known)


MISFITS = (KeyError, IndexError, TypeError, AttributeError, ValueError)
"""What code that reads a document as promised raises for a document of another form."""


def inner_object(shape: Any, name: str) -> dict[str, Any]:
    """Return the object called `name` in a provider's answer; an empty object for any
    other type.
    """
    inner = shape.get(name) if isinstance(shape, dict) else None
    return inner if isinstance(inner, dict) else {}


def text_in(shape: Any, name: str) -> str:
    """Return the text called `name` in a provider's answer; "" for any other type."""
    value = shape.get(name) if isinstance(shape, dict) else None
    return value if isinstance(value, str) else ""


LARGEST_COUNT = 2**53 - 1  # the largest integer that every reader of JSON keeps exactly


def count_in(shape: dict[str, Any], name: str) -> int:
    """Return the count called `name` in a provider's answer; 0 for any other type and for a number
    no count reaches.
    """
    value = shape.get(name)
    # The exact type, because `True` is an `int` too.
    return value if type(value) is int and 0 < value <= LARGEST_COUNT else 0


def unbroken(data: str) -> str:
    """Return base64 without the line breaks of mail encoders, which every provider refuses."""
    return "".join(data.split()) if "\n" in data or "\r" in data or " " in data else data


def error_text(text: str) -> str:
    """A provider's own words for a refusal; a proxy's HTML page says nothing a client
    should show.
    """
    return (
        text[:2000]
        if text and not text.lstrip().startswith("<")
        else "The provider gave no reason."
    )


def drop_empty(**fields: Any) -> dict[str, Any]:
    """Return the non-empty fields; numbers and booleans always stay."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
