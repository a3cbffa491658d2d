"""A turn's frames as events: the order of calls, permissions and results, and who has answered."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.managed.narration import MOST_RESULT_CHARS, TurnNarrator, evaluated, result_content
from shared.bus.channels import (
    CUSTOM_CALL_NOTE,
    PERMISSION_NOTE,
    CustomCallNote,
    PermissionNote,
    encode_payload,
)
from shared.formats.sse import ServerSentEvent
from shared.runtime.exact_json import dump_json

USE = {"type": "tool_use_sdk", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result_sdk", "tool_use_id": "toolu_1", "content": "a", "is_error": None}


def block(narrator: TurnNarrator, content: dict[str, Any], *texts: str) -> None:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    for payload in (
        {"type": "content_block_start", "index": 0, "content_block": content},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
    ):
        narrator.feed(ServerSentEvent(str(payload["type"]), dump_json(payload)))


def note(narrator: TurnNarrator, state: Any, message: str = "") -> None:
    told = PermissionNote("toolu_1", "request", state, "somebody", message)
    narrator.feed(ServerSentEvent(PERMISSION_NOTE, encode_payload(told)))


def kinds(narrator: TurnNarrator) -> list[str]:
    return [event["type"] for event in narrator.take_events()]


def test_a_text_is_one_message_and_an_empty_text_is_none():
    narrator = TurnNarrator({})
    block(narrator, {"type": "text", "text": ""}, "Hel", "lo")
    block(narrator, {"type": "text", "text": ""})
    [event] = narrator.take_events()
    assert event["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("note_first", [True, False])
def test_a_call_waits_once_its_block_and_its_note_are_there_in_either_order(note_first):
    narrator = TurnNarrator({"Bash": "always_ask"})
    steps = [lambda: note(narrator, "waiting"), lambda: block(narrator, USE)]
    for step in steps if note_first else steps[::-1]:
        assert kinds(narrator) == []
        step()
    use, status = narrator.take_events()
    assert (use["type"], use["name"], use["evaluation"]) == (
        "agent.tool_use",
        "bash",
        {"type": "always_ask"},
    )
    assert status["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}
    assert narrator.waiting == {use["id"]: {"request_id": "request"}}


def test_an_answer_of_a_person_is_a_confirmation_and_that_of_the_client_is_not_repeated():
    for by_client in (False, True):
        narrator = TurnNarrator({"Bash": "always_ask"})
        block(narrator, USE)
        note(narrator, "waiting")
        use, _ = narrator.take_events()
        if by_client:
            narrator.confirm(use["id"])
        note(narrator, "denied", "no")
        block(narrator, RESULT | {"is_error": True})
        events = narrator.take_events()
        expected = ["session.status_running", "agent.tool_result"]
        if not by_client:
            assert (events[0]["result"], events[0]["deny_message"]) == ("deny", "no")
            expected.insert(0, "user.tool_confirmation")
        assert [event["type"] for event in events] == expected
        assert narrator.waiting == {}


def test_a_wait_that_is_announced_again_is_one_wait():
    narrator = TurnNarrator({})
    block(narrator, USE)
    for _ in range(2):
        note(narrator, "waiting")
    assert kinds(narrator) == ["agent.tool_use", "session.status_idle"]
    assert len(narrator.waiting) == 1


def test_a_call_without_a_note_is_shown_before_its_result_and_once():
    narrator = TurnNarrator({})
    block(narrator, USE)
    block(narrator, RESULT)
    use, result = narrator.take_events()
    assert (use["type"], result["tool_use_id"]) == ("agent.tool_use", use["id"])
    note(narrator, "allowed")
    narrator.end()
    assert kinds(narrator) == []


def test_a_turn_that_ends_shows_the_calls_it_had_begun():
    narrator = TurnNarrator({})
    block(narrator, USE)
    assert kinds(narrator) == []
    narrator.end()
    assert kinds(narrator) == ["agent.tool_use"]


@pytest.mark.parametrize(
    ("policy", "state", "judged"),
    [
        ("always_allow", "allowed", {"type": "always_allow"}),
        ("always_ask", "waiting", {"type": "always_ask"}),
        ("auto", "allowed", {"type": "auto", "evaluated_permission": {"type": "allow"}}),
        (
            "always_allow",
            "waiting",
            {
                "type": "auto",
                "evaluated_permission": {"type": "ask", "reason_code": "owner_rules"},
            },
        ),
        (
            "always_ask",
            "denied",
            {
                "type": "auto",
                "evaluated_permission": {"type": "deny", "reason_code": "owner_rules"},
            },
        ),
    ],
)
def test_an_outcome_that_is_not_the_policys_own_is_the_owners_rules(policy, state, judged):
    assert evaluated(policy, PermissionNote("t", "r", state))["evaluation"] == judged


def test_a_result_has_the_vendors_blocks_and_a_long_text_loses_its_middle():
    image = {"type": "image", "source": {"type": "base64", "data": "A", "media_type": "image/png"}}
    long = "a" * MOST_RESULT_CHARS + "b"
    found = result_content([image, {"type": "odd"}, {"type": "text", "text": long}])
    assert found[0] == image
    assert found[1] == {"type": "text", "text": '{"type":"odd"}'}
    assert "1 characters are left out" in found[2]["text"]
    assert found[2]["text"].endswith("b")
    assert result_content(None) == [{"type": "text", "text": ""}]


CUSTOM_USE = USE | {"name": "mcp__ccproxy_custom__weather", "input": {"city": "Bern"}}


def custom_note(narrator: TurnNarrator, state: Any, message: str = "") -> None:
    told = CustomCallNote("toolu_1", state, "worker", message)
    narrator.feed(ServerSentEvent(CUSTOM_CALL_NOTE, encode_payload(told)))


@pytest.mark.parametrize("note_first", [True, False])
def test_a_custom_call_waits_for_the_client_and_its_result_is_not_repeated(note_first):
    narrator = TurnNarrator({})
    steps = [lambda: custom_note(narrator, "waiting"), lambda: block(narrator, CUSTOM_USE)]
    for step in steps if note_first else steps[::-1]:
        assert kinds(narrator) == []
        step()
    use, status = narrator.take_events()
    assert (use["type"], use["name"]) == ("agent.custom_tool_use", "weather")
    assert use["input"] == {"city": "Bern"}
    assert status["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}
    assert narrator.answer(use["id"]) == {"tool_use_id": "toolu_1", "worker": "worker"}
    assert narrator.answer(use["id"]) is None
    block(narrator, RESULT)
    assert kinds(narrator) == ["session.status_running"]


def test_a_custom_call_that_got_no_result_is_an_error_and_the_turn_goes_on():
    narrator = TurnNarrator({})
    block(narrator, CUSTOM_USE)
    custom_note(narrator, "waiting")
    narrator.take_events()
    custom_note(narrator, "over", "too long")
    error, status = narrator.take_events()
    assert error["error"]["message"] == "too long"
    assert error["error"]["retry_status"] == {"type": "retrying"}
    assert status["type"] == "session.status_running"
    assert narrator.waiting == {}


def test_a_custom_call_that_claude_code_refused_by_itself_never_waits():
    narrator = TurnNarrator({})
    block(narrator, CUSTOM_USE)
    block(narrator, RESULT | {"is_error": True})
    use, result = narrator.take_events()
    assert (use["type"], use["name"]) == ("agent.tool_use", "weather")
    assert (result["tool_use_id"], result["is_error"]) == (use["id"], True)


def test_a_confirmation_is_no_answer_to_a_custom_call():
    narrator = TurnNarrator({})
    block(narrator, USE)
    note(narrator, "waiting")
    [event_id] = narrator.waiting
    assert narrator.answer(event_id) is None
    assert narrator.waiting
