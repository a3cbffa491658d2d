"""What a session has said, as messages: no task of an earlier turn is a part of the next task."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.managed.history import MOST_CALLS, SpokenBackwards
from gateway.managed.narration import new_event, requires_action
from gateway.managed.turn_events import EXHAUSTED, error_event, idle_event

INTERRUPT = new_event("user.interrupt")
DONE = idle_event({"type": "end_turn"})
FAILED = [
    error_event("unknown_error", "The worker is gone.", EXHAUSTED),
    idle_event({"type": "retries_exhausted"}),
]


def task(text: str) -> dict[str, Any]:
    return new_event("user.message", content=[{"type": "text", "text": text}])


def answer(text: str) -> dict[str, Any]:
    return new_event("agent.message", content=[{"type": "text", "text": text}])


def use(number: int) -> dict[str, Any]:
    return new_event("agent.tool_use", name="bash", input={"command": f"make {number}"})


def spoken(*events: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who said what, the oldest first."""
    told = SpokenBackwards()
    for event in reversed(events):
        told.feed(event)
    return [(each["role"], each["content"][0]["text"]) for each in told.messages[::-1]]


def test_turns_that_ended_well_are_their_messages_alone():
    events = [task("a"), use(1), answer("A"), DONE, task("b"), answer("B"), DONE]
    assert spoken(*events) == [("user", "a"), ("assistant", "A"), ("user", "b"), ("assistant", "B")]


def test_a_turn_that_broke_off_ends_with_the_reason_and_the_calls_it_had_begun():
    found = spoken(task("a"), answer("Now:"), use(1), use(2), *FAILED, task("b"), answer("B"), DONE)
    assert [role for role, _ in found] == ["user", "assistant", "assistant", "user", "assistant"]
    note = found[2][1]
    assert "The worker is gone." in note
    assert note.index('bash {"command":"make 1"}') < note.index("make 2")


@pytest.mark.parametrize(
    ("ending", "named"),
    [
        ([INTERRUPT, DONE], "The user interrupted"),
        ([DONE], "without a text"),
        ([idle_event({"type": "refusal"})], "broke off"),
    ],
)
def test_a_turn_without_a_text_still_ends_with_a_word_of_the_agent(ending, named):
    [_, note, _] = spoken(task("a"), *ending, task("b"))
    assert note[0] == "assistant"
    assert named in note[1]


def test_a_wait_for_an_answer_is_no_end_and_what_comes_too_late_belongs_to_no_turn():
    waiting = requires_action(["sevt_1"])
    events = [task("a"), use(1), waiting, answer("A"), DONE, INTERRUPT, FAILED[0], task("b")]
    assert spoken(*events) == [("user", "a"), ("assistant", "A"), ("user", "b")]


def test_the_note_names_the_last_calls_of_a_long_turn():
    calls = [use(number) for number in range(MOST_CALLS + 1)]
    [_, (_, note)] = spoken(task("a"), *calls, *FAILED)
    assert note.count("make ") == MOST_CALLS
    assert "make 0" not in note
