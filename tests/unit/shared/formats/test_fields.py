"""Every look at somebody else's JSON either has the promised type or names the path."""

from __future__ import annotations

import pytest

from shared.formats import fields
from shared.formats.fields import FieldPolicy, Object, apply_policies
from shared.runtime.errors import ClientError

FIELDS = {
    "model": FieldPolicy("carried"),
    "seed": FieldPolicy("dropped"),
    "store": FieldPolicy("dropped", defaults=(False,)),
    "n": FieldPolicy("refused", "one choice only", defaults=(1,)),
}


def test_only_what_matters_is_named_as_dropped() -> None:
    assert apply_policies({"model": "m", "seed": 0, "store": False, "n": 1}, FIELDS) == ["seed"]
    assert apply_policies({"seed": None, "store": True, "n": None}, FIELDS) == ["store"]


def test_a_refused_field_says_why() -> None:
    with pytest.raises(ClientError, match="'n': one choice only") as caught:
        apply_policies({"n": 2}, FIELDS)
    assert caught.value.param == "n"


def test_unknown_fields_are_named_unless_null() -> None:
    assert apply_policies({"x": None}, FIELDS) == []
    with pytest.raises(ClientError, match=r"^Unrecognized request argument supplied: x$"):
        apply_policies({"x": 1}, FIELDS)
    with pytest.raises(ClientError, match=r"^Unrecognized request arguments supplied: x, y$"):
        apply_policies({"x": 1, "y": False}, FIELDS)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda: Object({}, "m[0]").text("a"), "Missing required parameter: 'm[0].a'."),
        (lambda: Object({"a": None}).text("a"), "Missing required parameter: 'a'."),
        (
            lambda: Object({"a": 1}).text("a"),
            "Invalid type for 'a': expected a string, but got an integer",
        ),
        (
            lambda: Object({"a": []}, "t").inner("a"),
            "Invalid type for 't.a': expected an object, but got an",
        ),
        (
            lambda: Object({"a": True}).optional("a", int),
            "Invalid type for 'a': expected an integer, but got a boolean",
        ),
        (
            lambda: Object({"a": 1}).optional("a", bool),
            "Invalid type for 'a': expected a boolean, but got an integer",
        ),
        (lambda: Object({"a": "1"}).number("a", 0, 2), "expected a number, but got a string"),
        (lambda: Object({"a": True}).number("a", 0, 2), "expected a number, but got a boolean"),
        (
            lambda: Object({"a": 2.1}).number("a", 0, 2),
            "Invalid value for 'a': 2.1. Expected a number from 0 to",
        ),
        (lambda: Object({"a": float("nan")}).number("a", 0, 2), "Invalid value for 'a': nan."),
        (
            lambda: Object({"a": 0}).count("a"),
            "Invalid value for 'a': 0. Expected an integer of at least 1.",
        ),
        (lambda: Object({"a": "z"}).choice("a", ["x", "y"]), "Supported values are: 'x', 'y'."),
        (
            lambda: fields.objects("no", "m"),
            "Invalid type for 'm': expected an array, but got a string instead.",
        ),
        (
            lambda: fields.objects([{}, 3], "m"),
            "Invalid type for 'm[1]': expected an object, but got an integer",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_path(look, message) -> None:
    with pytest.raises(ClientError) as caught:
        look()
    assert message in caught.value.message
    assert caught.value.param
    assert caught.value.param in caught.value.message


def test_what_fits_is_returned_as_it_is() -> None:
    body = {
        "text": "",
        "count": 1,
        "number": 0,
        "flag": False,
        "list": [{"a": 1}],
        "object": {"b": 2},
    }
    asked = Object(body, "p")
    assert asked.text("text") == ""
    assert asked.optional("none", str) is None
    assert asked.count("count") == 1
    assert asked.number("number", 0, 1) == 0
    assert asked.required("flag", bool) is False
    assert [(each.value, each.path) for each in asked.objects("list")] == [({"a": 1}, "p.list[0]")]
    assert asked.objects("none") == []
    assert (asked.object("object").value, asked.object("object").at("b")) == (
        {"b": 2},
        "p.object.b",
    )
    assert asked.inner("none").value == {}


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ClientError) as caught:
        fields.one_of("x" * 5000, ["y"], "a")
    assert len(caught.value.message) < 200


def test_strangers_are_named_wherever_the_table_looks() -> None:
    known = {
        "": frozenset({"messages", "schema"}),
        "messages[]": frozenset({"role", "parts"}),
        "messages[].parts[]": frozenset(),
    }
    message = {"role": "user", "weight": 1, "gone": None, "parts": [{"x": 1}, "text"]}
    body = {"messages": [message, message], "schema": {"anything": {"goes": 1}}}
    assert set(fields.unknown_fields(body, "", known)) == {
        "messages[].weight",
        "messages[].parts[].x",
    }


def test_a_web_page_is_no_reason() -> None:
    assert fields.error_text("Slow down.") == "Slow down."
    assert fields.error_text(" <html>") == fields.error_text("") == "The provider gave no reason."


def test_what_is_empty_is_not_written() -> None:
    assert fields.drop_empty(a=0, b=False, c=None, d="", e=[], f={}, g="x") == {
        "a": 0,
        "b": False,
        "g": "x",
    }
