"""The queue keeps its order, keeps to the prompt looked at, and tells what others did."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.permissions.feed import Event
from ccproxy.permissions.waiting import Waiting, read_prompt


def request(request_id: str, **fields: Any) -> Event:
    data = {"request_id": request_id, "tool_name": "Bash", "input": {"command": f"touch {request_id}"}, **fields}
    return Event("permission_request", data)


@pytest.fixture
def waiting() -> Waiting:
    waiting = Waiting()
    for request_id in "abc":
        waiting.apply(request(request_id))
    return waiting


def current(waiting: Waiting) -> str:
    assert waiting.current is not None
    return waiting.current.id


def test_the_oldest_is_looked_at_first_and_stays_while_others_come(waiting: Waiting) -> None:
    assert (current(waiting), waiting.place(), len(waiting)) == ("a", 1, 3)
    waiting.apply(request("d"))
    assert current(waiting) == "a"


def test_one_can_look_at_the_others_in_a_circle(waiting: Waiting) -> None:
    waiting.step(-1)
    assert (current(waiting), waiting.place()) == ("c", 3)
    waiting.step(1)
    assert current(waiting) == "a"
    Waiting().step(1)


def test_a_prompt_told_twice_is_one(waiting: Waiting) -> None:
    waiting.apply(request("a"))
    assert len(waiting) == 3


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Event("permission_resolved", {"allowed": True, "decided_by": "bob"}), "allowed by bob elsewhere."),
        (
            Event("permission_resolved", {"allowed": True, "decided_by": "bob", "edited": True}),
            "allowed by bob elsewhere, edited.",
        ),
        (Event("permission_resolved", {"allowed": False, "decided_by": "rule"}), "denied by a rule."),
        (Event("permission_expired", {}), "nobody answered in time; it was not allowed."),
        (Event("permission_cancelled", {}), "withdrawn, whoever asked is gone."),
    ],
)
def test_what_others_did_is_told_and_the_next_is_looked_at(waiting: Waiting, event: Event, told: str) -> None:
    event.data["request_id"] = "a"
    assert waiting.apply(event) == f"Bash touch a: {told}"
    assert current(waiting) == "b"


def test_our_own_answer_is_no_news_and_comes_back_when_it_did_not_arrive(waiting: Waiting) -> None:
    prompt = waiting.current
    assert prompt is not None
    waiting.answered(prompt)
    assert current(waiting) == "b"
    assert waiting.apply(Event("permission_resolved", {"request_id": "a", "allowed": True})) == ""
    second = waiting.current
    assert second is not None
    waiting.answered(second)
    waiting.put_back(second)
    assert current(waiting) == "b"


def test_a_settled_case_nobody_saw_is_nothing(waiting: Waiting) -> None:
    assert waiting.apply(Event("permission_expired", {"request_id": "unknown"})) == ""


def test_questions_are_asked_one_after_the_other() -> None:
    questions = [{"question": "one?"}, "nonsense", {"question": "two?"}]
    prompt = read_prompt(request("q", kind="question", input={"questions": questions}).data)
    assert prompt.open_question() == {"question": "one?"}
    prompt.answers["one?"] = "yes"
    assert prompt.open_question() == {"question": "two?"}
    prompt.answers["two?"] = "no"
    assert prompt.open_question() is None


def test_callers_take_turns_on_the_screen() -> None:
    waiting = Waiting()
    for request_id, caller in (("a1", "alice"), ("a2", "alice"), ("b1", "bob")):
        data = {"request_id": request_id, "tool_name": "Bash", "input": {}, "caller": caller}
        waiting.apply(Event("permission_request", data))
    seen = []
    for _ in range(3):
        assert waiting.current is not None
        seen.append(waiting.current.id)
        waiting.step(1)
    assert seen == ["a1", "b1", "a2"]
