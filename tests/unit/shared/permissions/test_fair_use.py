"""No caller takes more than its share, and the callers take turns."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.fair_use import (
    MAX_INPUT_BYTES,
    MAX_INPUT_DEPTH,
    InputsInFlight,
    deeper_than,
    input_size,
    request_problem,
    taking_turns,
)


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return {"value": value}


@pytest.mark.parametrize(
    ("request_fields", "problem"),
    [
        ({"input": {"command": "ls"}}, ""),
        ({"input": {"command": "x" * (MAX_INPUT_BYTES - 14)}}, ""),
        ({"input": {"command": "x" * MAX_INPUT_BYTES}}, "262,158 bytes"),
        ({"input": {"command": "é" * (MAX_INPUT_BYTES // 2)}}, "262,158 bytes"),
        ({"input": nested(20)}, ""),
        ({"input": nested(400)}, "64 levels deep"),
        ({"tool_name": "x" * 5000}, "tool_name has 5,000 characters"),
        ({"asker": "x" * 5000}, "asker has 5,000 characters"),
    ],
)
def test_a_request_beyond_its_size_is_denied_in_words(
    request_fields: dict[str, Any], problem: str
) -> None:
    found = request_problem(
        PermissionRequest(**{"request_id": "a", "tool_name": "Bash", "input": {}, **request_fields})
    )
    assert problem in found
    assert bool(found) == bool(problem)


def test_every_depth_that_passes_can_be_written_as_json() -> None:
    deepest = {"value": 1}
    while not deeper_than({"value": deepest}, MAX_INPUT_DEPTH):
        deepest = {"value": deepest}  # type: ignore[dict-item]
    assert input_size(deepest) == len(orjson.dumps(deepest))
    assert deeper_than({"value": deepest}, MAX_INPUT_DEPTH)


def test_a_caller_has_its_bytes_in_flight_until_they_have_arrived() -> None:
    in_flight = InputsInFlight(limit=100)
    carried = in_flight.carried
    with (
        carried("alice", 60) as first,
        carried("alice", 60) as second,
        carried("bob", 100) as other,
    ):
        assert (first, second, other) == (True, False, True)
    with in_flight.carried("alice", 100) as later:
        assert later


def test_bytes_are_given_back_when_the_sender_fails() -> None:
    in_flight = InputsInFlight(limit=100)
    with pytest.raises(ValueError, match="broken"), in_flight.carried("alice", 100):
        raise ValueError("broken")
    with in_flight.carried("alice", 100) as fits:
        assert fits


@pytest.mark.parametrize(
    ("asked", "ordered"),
    [
        ("", ""),
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 b1 c1 b2", "a1 b1 c1 a2 b2 a3"),
        ("b1 a1 a2", "b1 a1 a2"),
    ],
)
def test_callers_take_turns(asked: str, ordered: str) -> None:
    assert taking_turns(asked.split(), lambda request: request[0]) == ordered.split()
