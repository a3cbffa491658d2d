"""What travels between processes arrives as it was, or is refused naming what does not fit."""

from __future__ import annotations

import pytest

from shared.bus.channels import (
    AccessRecord,
    Turn,
    TurnHead,
    decode_payload,
    encode_payload,
    session_key,
)
from shared.runtime.errors import ClientError


@pytest.mark.parametrize(
    "payload",
    [Turn("r", {"model": "m"}, "me"), AccessRecord("r", 1.5, model="x"), TurnHead("w", 1.0, ["a"])],
)
def test_a_payload_arrives_as_it_was(payload: object) -> None:
    assert decode_payload(type(payload), encode_payload(payload)) == payload


def test_lists_of_payloads_travel_too() -> None:
    records = [AccessRecord("a", 1.0), AccessRecord("b", 2.0)]
    assert decode_payload(list[AccessRecord], encode_payload(records)) == records


def test_a_field_of_a_newer_process_is_passed_over() -> None:
    assert decode_payload(TurnHead, b'{"worker":"w","invented_later":1}') == TurnHead("w")


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"{}", "worker"),
        (b'{"worker":3}', "worker"),
        (b'{"worker":"w","ignored":[1]}', "ignored.0"),
        (b"{", "payload"),
    ],
)
def test_what_does_not_fit_is_named(data: bytes, where: str) -> None:
    with pytest.raises(ClientError, match=f"^{where}: "):
        decode_payload(TurnHead, data)


def test_names_of_different_callers_and_places_differ() -> None:
    turns = [
        Turn("r", {}, caller="a", session_id="s"),
        Turn("r", {}, caller="b", session_id="s"),
        Turn("r", {}, caller="a", session_id="s", working_directory="/w"),
    ]
    assert len({session_key(turn) for turn in turns}) == 3


@pytest.mark.parametrize("value", [2**70, -(2**64), "\ud83d", {"deep": ["\udc00", 2**65]}])
def test_a_payload_keeps_integers_of_any_size_and_halves_of_characters(value: object) -> None:
    assert decode_payload(Turn, encode_payload(Turn("r", {"value": value}))).body == {
        "value": value
    }


def test_a_payload_that_is_no_json_is_a_client_error() -> None:
    with pytest.raises(ClientError, match="payload"):
        decode_payload(Turn, b'{"request_id": "\\ud8')
