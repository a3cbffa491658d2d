"""Cache diagnostics name the first part of a prompt that differs from the request before it."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.anthropic.diagnoses import Diagnoses, Diagnosis

TOOL = {"name": "f", "input_schema": {"type": "object"}}
BODY: dict[str, Any] = {
    "model": "claude-x",
    "system": "Be brief.",
    "tools": [TOOL],
    "messages": [{"role": "user", "content": "hello"}],
}
MORE = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "again"}]


def after(body: dict[str, Any], *, owner: str = "key", previous: str = "msg_1") -> Any:
    """Return what the second of two requests is told; the first is BODY."""
    diagnoses = Diagnoses()
    assert diagnoses.compare(
        BODY | {"diagnostics": {"previous_message_id": None}}, "key", "msg_1"
    ) == Diagnosis(None)
    told = diagnoses.compare(
        body | {"diagnostics": {"previous_message_id": previous}}, owner, "msg_2"
    )
    assert told is not None
    return told.shown


def test_a_conversation_that_goes_on_has_no_miss() -> None:
    assert after(BODY | {"messages": [*BODY["messages"], *MORE]}) is None


def test_marks_of_the_cache_may_move() -> None:
    marked = {"role": "user", "content": "hello", "cache_control": {"type": "ephemeral"}}
    assert after(BODY | {"messages": [marked, *MORE]}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "claude-y", "system": "Other."}, "model_changed"),
        ({"system": "Be long."}, "system_changed"),
        ({"tools": []}, "tools_changed"),
        ({"messages": [{"role": "user", "content": "other"}]}, "messages_changed"),
    ],
)
def test_the_first_part_that_differs_is_named_with_the_tokens_that_were_missed(
    change: dict[str, Any], reason: str
) -> None:
    found = after(BODY | change)["cache_miss_reason"]
    assert found["type"] == reason
    assert found["cache_missed_input_tokens"] > 0


@pytest.mark.parametrize(("owner", "previous"), [("key", "msg_9"), ("other", "msg_1")])
def test_an_unknown_message_and_another_owners_are_not_found(owner: str, previous: str) -> None:
    assert after(BODY, owner=owner, previous=previous) == {
        "cache_miss_reason": {"type": "previous_message_not_found"}
    }


def test_a_request_that_does_not_ask_is_told_nothing() -> None:
    assert Diagnoses().compare(BODY, "key", "msg_1") is None
