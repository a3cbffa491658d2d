"""The queue keeps its order, keeps to the prompt looked at, and tells what others did."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.feed import FeedEvent
from ccproxy.cli.permissions.waiting import Waiting, read_waiting
from shared.permissions.presented import Block


def request(
    request_id: str, questions: list[dict[str, Any]] | None = None, **fields: Any
) -> FeedEvent:
    shown = {
        "title": "Run a command",
        "summary": f"Bash touch {request_id}",
        "questions": questions or [],
    }
    data = {
        "request_id": request_id,
        "tool_name": "Bash",
        "input": {"command": f"touch {request_id}"},
    }
    return FeedEvent("permission_request", data | {"presentation": shown} | fields)


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
        (
            FeedEvent("permission_resolved", {"allowed": True, "decided_by": "bob"}),
            "allowed by bob elsewhere.",
        ),
        (
            FeedEvent(
                "permission_resolved", {"allowed": True, "decided_by": "bob", "edited": True}
            ),
            "allowed by bob elsewhere, edited.",
        ),
        (
            FeedEvent("permission_resolved", {"allowed": False, "decided_by": "rule"}),
            "denied by a rule.",
        ),
        (FeedEvent("permission_expired", {}), "nobody answered in time; it was not allowed."),
        (FeedEvent("permission_cancelled", {}), "withdrawn, whoever asked is gone."),
    ],
)
def test_what_others_did_is_told_and_the_next_is_looked_at(
    waiting: Waiting, event: FeedEvent, told: str
) -> None:
    event.data["request_id"] = "a"
    assert waiting.apply(event) == f"Bash touch a: {told}"
    assert current(waiting) == "b"


def test_our_own_answer_is_no_news_and_comes_back_when_it_did_not_arrive(waiting: Waiting) -> None:
    prompt = waiting.current
    assert prompt is not None
    waiting.answered(prompt)
    assert current(waiting) == "b"
    assert (
        waiting.apply(FeedEvent("permission_resolved", {"request_id": "a", "allowed": True})) == ""
    )
    second = waiting.current
    assert second is not None
    waiting.answered(second)
    waiting.put_back(second)
    assert current(waiting) == "b"


def test_a_settled_case_nobody_saw_is_nothing(waiting: Waiting) -> None:
    assert waiting.apply(FeedEvent("permission_expired", {"request_id": "unknown"})) == ""


def test_questions_are_asked_one_after_the_other_and_answered_by_their_own_words() -> None:
    given = {
        "questions": [
            {"question": "one\u202e?", "options": [{"label": "a\u200b"}]},
            {"question": "two?"},
        ]
    }
    options = [{"place": 0, "label": "a\\u200b"}]
    shown = [{"place": 0, "text": "one\\u202e?", "options": options}, {"place": 1, "text": "two?"}]
    prompt = read_waiting(request("q", shown, kind="question", input=given).data)
    first = prompt.open_question()
    assert first is not None
    assert (prompt.question_text(first), prompt.option_label(first, 0)) == ("one\u202e?", "a\u200b")
    prompt.answers["one\u202e?"] = "yes"
    second = prompt.open_question()
    assert second is not None
    assert second.text == "two?"
    prompt.answers["two?"] = "no"
    assert prompt.open_question() is None


def test_an_edited_command_stands_beside_the_other_fields() -> None:
    prompt = read_waiting(request("a").data)
    prompt.presentation.blocks.append(Block("Command", "command", "old"))
    prompt.presentation.blocks.append(Block("Also given", "json", "{}"))
    prompt.edited = {"command": "new\u202e", "timeout": 5}
    assert [(block.label, block.text) for block in prompt.shown.blocks] == [
        ("Edited here", "new\\u202e"),
        ("Also given", "{}"),
    ]
    prompt.edited = {"x": 1}
    assert [block.text for block in prompt.shown.blocks] == ['{\n  "x": 1\n}']


def test_a_gateway_without_presentations_is_refused_in_words() -> None:
    with pytest.raises(Unanswered, match="update it"):
        read_waiting({"request_id": "a", "tool_name": "Bash", "input": {}})


def test_callers_take_turns_on_the_screen() -> None:
    waiting = Waiting()
    for request_id, caller in (("a1", "alice"), ("a2", "alice"), ("b1", "bob")):
        waiting.apply(request(request_id, caller=caller))
    seen = []
    for _ in range(3):
        seen.append(current(waiting))
        waiting.step(1)
    assert seen == ["a1", "b1", "a2"]
