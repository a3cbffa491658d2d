"""Shapes refuse at the exact place, in the services' words."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.shape import (
    Check,
    Misfit,
    anything,
    at_least,
    at_most,
    boolean,
    including,
    integer,
    list_of,
    literal,
    mapping,
    matching,
    nullable,
    number,
    record,
    tagged,
    text,
    text_or,
    with_beta,
)

NO_BETAS: frozenset[str] = frozenset()
CAT = tagged({"cat": record("name", name=text, lives=at_least(1))})


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (text, 1, "x: Input should be a valid string"),
        (boolean, "yes", "x: Input should be a valid boolean"),
        (mapping, [], "x: Input should be a valid dictionary"),
        (integer, True, "x: Input should be a valid integer"),
        (integer, 1.5, "x: Input should be a valid integer"),
        (number, "1", "x: Input should be a valid number"),
        (at_least(2), 1, "x: Input should be greater than or equal to 2"),
        (at_most(2, number), 2.5, "x: Input should be less than or equal to 2"),
        (matching("^a$"), "b", "x: String should match pattern '^a$'"),
        (matching("^a$", "Only a."), "b", "x: Only a."),
        (literal("a", "b"), "c", "x: Input should be 'a' or 'b'"),
        (literal("a"), ["a"], "x: Input should be 'a'"),
        (list_of(text), {}, "x: Input should be a valid list"),
        (list_of(text), ["a", 1], "x.1: Input should be a valid string"),
        (
            list_of(text, most=1),
            ["a", "b"],
            "x: List should have at most 1 items after validation, not 2",
        ),
        (text_or(list_of(text)), 1, "x: Input should be a valid list"),
        (record("a", a=text), {}, "x.a: Field required"),
        (record("a", a=text), {"a": "", "b": 1}, "x.b: Extra inputs are not permitted"),
        (record(), [], "x: Input should be an object"),
        (CAT, {"name": "Tom"}, "x.type: Field required"),
        (CAT, "Tom", "x: Input should be an object"),
        (
            CAT,
            {"type": "dog"},
            "x: Input tag 'dog' found using 'type' does not match any of the expected tags: 'cat'",
        ),
        (CAT, {"type": ["cat"]}, "x: Input tag '['cat']' found using 'type'"),
        (
            CAT,
            {"type": "cat", "name": "Tom", "lives": 0},
            "x.cat.lives: Input should be greater than or equal to 1",
        ),
        (including(a=text), {"a": 1, "b": 2}, "x.a: Input should be a valid string"),
        (including(a=text), 1, "x: Input should be a valid dictionary"),
        (with_beta("new-1 new-2"), 1, "x: Extra inputs are not permitted"),
    ],
)
def test_a_misfit_names_the_place_and_the_problem(check: Check, value: Any, words: str) -> None:
    with pytest.raises(Misfit) as caught:
        check(value, "x", NO_BETAS)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (anything, object()),
        (number, 1),
        (nullable(text), None),
        (text_or(mapping), "plain"),
        (CAT, {"type": "cat", "name": "Tom", "lives": 9}),
        (tagged({"cat": record()}, default="cat"), {}),
    ],
)
def test_what_fits_passes(check: Check, value: Any) -> None:
    check(value, "x", NO_BETAS)


def test_a_beta_field_exists_with_any_of_its_headers() -> None:
    with_beta("new-1 new-2", text)("value", "x", frozenset({"new-2"}))


def test_a_tag_can_stay_out_of_the_path() -> None:
    with pytest.raises(Misfit, match=r"^messages\.0\.extra: "):
        tagged({"user": record()}, "role", shown=False)(
            {"role": "user", "extra": 1}, "messages.0", NO_BETAS
        )
