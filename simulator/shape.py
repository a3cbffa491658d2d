"""Strict shapes of JSON requests, refused in the words the real services use.

A check takes (value, where, betas) and raises Misfit. Checks are built from checks, so that a table
of fields reads like its documentation; a field nobody declared is always refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str, frozenset[str]], None]


class Misfit(Exception):
    """A mismatch, worded `where: problem` as pydantic-built services do."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)


def join_path(where: str, name: str | int) -> str:
    return f"{where}.{name}" if where else str(name)


def names(text: str) -> list[str]:
    return text.split()


def leaf(fits: Callable[[Any], object], problem: str) -> Check:
    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        del betas
        if not fits(value):
            raise Misfit(where, problem)

    return check


def both(first: Check, second: Check) -> Check:
    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        first(value, where, betas)
        second(value, where, betas)

    return check


anything = leaf(lambda _: True, "")
text = leaf(lambda value: isinstance(value, str), "Input should be a valid string")
boolean = leaf(lambda value: isinstance(value, bool), "Input should be a valid boolean")
mapping = leaf(lambda value: isinstance(value, dict), "Input should be a valid dictionary")
integer = leaf(lambda value: type(value) is int, "Input should be a valid integer")
number = leaf(lambda value: type(value) in (int, float), "Input should be a valid number")


def matching(pattern: str, problem: str = "") -> Check:
    return both(
        text,
        leaf(
            lambda value: re.search(pattern, value),
            problem or f"String should match pattern '{pattern}'",
        ),
    )


def at_least(least: int, kind: Check = integer) -> Check:
    return both(
        kind,
        leaf(lambda value: value >= least, f"Input should be greater than or equal to {least}"),
    )


def at_most(most: int, kind: Check) -> Check:
    return both(
        kind, leaf(lambda value: value <= most, f"Input should be less than or equal to {most}")
    )


def literal(*values: str) -> Check:
    expected = " or ".join(", ".join(f"'{value}'" for value in values).rsplit(", ", 1))
    return leaf(lambda value: value in values, f"Input should be {expected}")


def nullable(inner: Check) -> Check:
    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if value is not None:
            inner(value, where, betas)

    return check


def text_or(inner: Check) -> Check:
    """Accept a plain string, or a value for `inner`."""

    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if not isinstance(value, str):
            inner(value, where, betas)

    return check


def list_of(inner: Check, most: int | None = None) -> Check:
    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if not isinstance(value, list):
            raise Misfit(where, "Input should be a valid list")
        if most is not None and len(value) > most:
            raise Misfit(
                where, f"List should have at most {most} items after validation, not {len(value)}"
            )
        for position, item in enumerate(value):
            inner(item, join_path(where, position), betas)

    return check


def with_beta(wanted: str, inner: Check = anything) -> Check:
    """Accept a field only in requests with an `anthropic-beta` value of `wanted`."""
    accepted = frozenset(names(wanted))

    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if not accepted & betas:
            raise Misfit(where, "Extra inputs are not permitted")
        inner(value, where, betas)

    return check


def record(required: str = "", /, **fields: Check) -> Check:
    """Accept an object of exactly `fields`; `required` names the mandatory fields, separated by
    spaces.
    """
    needed = names(required)

    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if not isinstance(value, dict):
            raise Misfit(where, "Input should be an object")
        # Missing fields are told before unknown ones, in the order of the service.
        for name in needed:
            if name not in value:
                raise Misfit(join_path(where, name), "Field required")
        for name, item in value.items():
            if name not in fields:
                raise Misfit(join_path(where, name), "Extra inputs are not permitted")
            fields[name](item, join_path(where, name), betas)

    return check


def including(**fields: Check) -> Check:
    """Accept an object of any fields, checking only the given fields."""

    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        mapping(value, where, betas)
        for name in fields.keys() & value.keys():
            fields[name](value[name], join_path(where, name), betas)

    return check


def tagged(
    shapes: Mapping[str, Check],
    tag: str = "type",
    default: str | None = None,
    *,
    shown: bool = True,
) -> Check:
    """Accept the shape named by the object's `tag` field; `shown` puts the shape's name into the
    path.
    """

    def check(value: Any, where: str, betas: frozenset[str]) -> None:
        if not isinstance(value, dict):
            raise Misfit(where, "Input should be an object")
        # The tag decides the shape first, and the shape is checked without it: no shape has to
        # declare its own tag.
        name = value.get(tag) or default
        if name is None:
            raise Misfit(join_path(where, tag), "Field required")
        if not isinstance(name, str) or name not in shapes:
            expected = ", ".join(f"'{known}'" for known in shapes)
            problem = (
                f"Input tag '{name}' found using '{tag}' does not match any of the expected tags: "
                f"{expected}"
            )
            raise Misfit(where, problem)
        rest = {field: item for field, item in value.items() if field != tag}
        shapes[name](rest, join_path(where, name) if shown else where, betas)

    return check
