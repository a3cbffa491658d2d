"""In doubt the answer is no, and an answer is given once."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.desk import Answer, Case, Desk
from shared.channels import PermissionAsk
from shared.errors import ClientError, Conflict, NotFound

NOW = 1_700_000_000.0


def opened(desk: Desk, request_id: str = "a", tool: str = "Bash", **fields: Any) -> Case:
    case = desk.open(PermissionAsk(request_id, tool, {"command": "ls"}, asked_at=NOW, **fields), NOW)
    desk.keep(case)
    return case


def settled(desk: Desk, request_id: str = "a", *, allowed: bool = True, **answer: Any) -> Case:
    case = desk.settle(request_id, Answer(allowed, "alice", **answer), NOW + 1)
    desk.keep(case)
    return case


@pytest.fixture
def desk() -> Desk:
    return Desk(timeout_seconds=30)


def test_an_ask_waits_until_its_time_is_over(desk: Desk) -> None:
    case = opened(desk)
    assert (case.status, case.expires_at) == ("pending", NOW + 30)
    assert desk.pending() == [case]


def test_an_ask_may_bring_its_own_time_and_zero_is_for_ever(desk: Desk) -> None:
    assert opened(desk, "a", timeout_seconds=5).expires_at == NOW + 5
    assert opened(desk, "b", timeout_seconds=0).expires_at is None
    assert opened(Desk(timeout_seconds=0)).expires_at is None


def test_the_time_runs_from_the_question_not_from_its_delivery(desk: Desk) -> None:
    late = desk.open(PermissionAsk("a", "Bash", {}, asked_at=NOW), NOW + 29)
    assert late.expires_at == NOW + 30


def test_an_ask_delivered_again_is_the_same_case(desk: Desk) -> None:
    case = opened(desk)
    assert opened(desk) is case
    done = settled(desk)
    assert opened(desk) is done


def test_an_allowed_tool_gets_the_input_a_person_changed(desk: Desk) -> None:
    opened(desk)
    decision = settled(desk, updated_input={"command": "ls -l"}).decision()
    assert (decision.outcome, decision.updated_input, decision.decided_by) == (
        "allowed",
        {"command": "ls -l"},
        "alice",
    )


def test_a_denial_always_says_something_to_the_model(desk: Desk) -> None:
    opened(desk, "a")
    opened(desk, "b")
    assert "Do not try" in settled(desk, "a", allowed=False).message
    assert settled(desk, "b", allowed=False, message="use rg").message == "use rg"


@pytest.mark.parametrize("second", [True, False])
def test_a_second_decision_is_refused_and_told_who_was_first(desk: Desk, second: bool) -> None:
    opened(desk)
    settled(desk)
    with pytest.raises(Conflict, match="alice allowed this already"):
        settled(desk, allowed=second)


def test_a_decision_about_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="'never asked'"):
        settled(desk, "never asked")


def test_nobody_answering_denies_with_a_message_and_a_late_answer_is_told(desk: Desk) -> None:
    case = desk.expire(opened(desk), NOW + 30)
    assert (case.status, case.message.startswith("Nobody answered within 30 seconds")) == ("expired", True)
    desk.keep(case)
    with pytest.raises(Conflict, match="Too late: nobody answered"):
        settled(desk)


def test_an_answer_in_the_moment_of_expiry_is_late_even_before_anybody_noticed(desk: Desk) -> None:
    opened(desk)
    with pytest.raises(Conflict, match="Too late"):
        desk.settle("a", Answer(True, "alice"), NOW + 30)


def test_a_withdrawn_ask_takes_no_answer(desk: Desk) -> None:
    desk.keep(desk.withdraw(opened(desk), NOW))
    with pytest.raises(Conflict, match="whoever asked is gone"):
        settled(desk)


def test_a_question_is_answered_or_denied_never_just_allowed(desk: Desk) -> None:
    opened(desk, tool="AskUserQuestion")
    with pytest.raises(ClientError, match="answers"):
        settled(desk)
    assert settled(desk, updated_input={"questions": [], "answers": {"Which?": "this"}}).status == "allowed"


def test_the_input_of_what_is_denied_cannot_be_changed(desk: Desk) -> None:
    opened(desk)
    with pytest.raises(ClientError, match="does not run"):
        settled(desk, allowed=False, updated_input={})


def test_an_answer_after_the_decision_of_a_rule_is_told_so(desk: Desk) -> None:
    opened(desk, "a")
    desk.keep(desk.settle("a", Answer(True, by="rule", rule="rule_1"), NOW))
    with pytest.raises(Conflict, match="A rule allowed this already"):
        settled(desk, "a")


def test_an_ask_decided_at_once_is_not_kept(desk: Desk) -> None:
    case = desk.decided_at_once(PermissionAsk("a", "Read", {}), Answer(True, by="built_in", rule="rule_reading"), NOW)
    assert (case.status, case.decided_by, case.rule) == ("allowed", "built_in", "rule_reading")
    assert not desk.knows("a")


def test_a_check_changes_nothing_until_it_is_kept(desk: Desk) -> None:
    case = opened(desk)
    desk.settle("a", Answer(True, "alice"), NOW)
    assert desk.find("a") is case


def test_events_are_numbered_in_order_and_resume_without_gap_or_repeat(desk: Desk) -> None:
    opened(desk, "a")
    opened(desk, "b")
    settled(desk, "a")
    events = list(desk.events_after(0))
    assert [(event.case.id, event.closing) for event in events] == [("a", False), ("b", False), ("a", True)]
    for place, event in enumerate(events):
        assert list(desk.events_after(event.number)) == events[place + 1 :]


def test_numbers_go_on_growing_when_another_desk_takes_over_or_the_clock_steps_back(desk: Desk) -> None:
    opened(desk)
    successor = Desk(30)
    for case in desk.pending():
        successor.keep(case)
    later = successor.open(PermissionAsk("b", "Bash", {}, asked_at=NOW), NOW - 100)
    assert later.opened > desk.last_number
    assert Desk(30).open(PermissionAsk("c", "Bash", {}), NOW + 1).opened > desk.last_number


def test_a_case_counts_as_closed_once(desk: Desk) -> None:
    case = opened(desk)
    done = desk.settle("a", Answer(True, "alice"), NOW)
    assert [desk.keep(case), desk.keep(done), desk.keep(done)] == [False, True, False]


def test_finished_cases_are_forgotten_pending_ones_never(desk: Desk) -> None:
    opened(desk, "a")
    opened(desk, "b")
    settled(desk, "a")
    desk.forget_old(NOW + 10_000)
    assert [case.id for case in desk.pending()] == ["b"]
    with pytest.raises(NotFound):
        desk.find("a")


def test_an_asker_finds_what_it_asked(desk: Desk) -> None:
    case = opened(desk, asker="process:7")
    opened(desk, "b")
    assert desk.asked_by("process:7") == [case]
    assert desk.asked_by("") == []
