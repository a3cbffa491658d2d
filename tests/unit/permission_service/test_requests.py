"""In doubt the answer is no, and an answer is given once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from permission_service.requests import (
    HISTORY_REQUESTS,
    HISTORY_SECONDS,
    PermissionRequests,
    RequestAnswer,
    StoredRequest,
)
from shared.bus.channels import PermissionRequest
from shared.runtime.errors import ClientError, Conflict, NotFound
from tests.support.operations import operations_of

NOW = 1_700_000_000.0


def opened(
    requests: PermissionRequests, request_id: str = "a", tool: str = "Bash", **fields: Any
) -> StoredRequest:
    stored = requests.open(
        PermissionRequest(request_id, tool, {"command": "ls"}, asked_at=NOW, **fields), NOW
    )
    requests.keep(stored)
    return stored


def settled(
    requests: PermissionRequests, request_id: str = "a", *, allowed: bool = True, **answer: Any
) -> StoredRequest:
    stored = requests.settle(request_id, RequestAnswer(allowed, "alice", **answer), NOW + 1)
    requests.keep(stored)
    return stored


@pytest.fixture
def requests() -> PermissionRequests:
    return PermissionRequests(timeout_seconds=30)


def test_an_ask_waits_until_its_time_is_over(requests: PermissionRequests) -> None:
    stored = opened(requests)
    assert (stored.status, stored.expires_at) == ("pending", NOW + 30)
    assert requests.pending() == [stored]


def test_an_ask_may_bring_its_own_time_and_zero_is_for_ever(requests: PermissionRequests) -> None:
    assert opened(requests, "a", timeout_seconds=5).expires_at == NOW + 5
    assert opened(requests, "b", timeout_seconds=0).expires_at is None
    assert opened(PermissionRequests(timeout_seconds=0)).expires_at is None


def test_the_time_runs_from_the_question_not_from_its_delivery(
    requests: PermissionRequests,
) -> None:
    late = requests.open(PermissionRequest("a", "Bash", {}, asked_at=NOW), NOW + 29)
    assert late.expires_at == NOW + 30


def test_an_ask_delivered_again_is_the_same_case(requests: PermissionRequests) -> None:
    stored = opened(requests)
    assert opened(requests) is stored
    done = settled(requests)
    assert opened(requests) is done


def test_an_allowed_tool_gets_the_input_a_person_changed(requests: PermissionRequests) -> None:
    opened(requests)
    decision = settled(requests, updated_input={"command": "ls -l"}).decision()
    assert (decision.outcome, decision.updated_input, decision.decided_by) == (
        "allowed",
        {"command": "ls -l"},
        "alice",
    )


def test_a_denial_always_says_something_to_the_model(requests: PermissionRequests) -> None:
    opened(requests, "a")
    opened(requests, "b")
    assert "Do not try" in settled(requests, "a", allowed=False).message
    assert settled(requests, "b", allowed=False, message="use rg").message == "use rg"


@pytest.mark.parametrize("second", [True, False])
def test_a_second_decision_is_refused_and_told_who_was_first(
    requests: PermissionRequests, second: bool
) -> None:
    opened(requests)
    settled(requests)
    with pytest.raises(Conflict, match="alice allowed this already"):
        settled(requests, allowed=second)


def test_a_decision_about_nothing_is_refused(requests: PermissionRequests) -> None:
    with pytest.raises(NotFound, match="'never asked'"):
        settled(requests, "never asked")


def test_nobody_answering_denies_with_a_message_and_a_late_answer_is_told(
    requests: PermissionRequests,
) -> None:
    stored = requests.expire(opened(requests), NOW + 30)
    assert (stored.status, stored.message.startswith("Nobody answered within 30 seconds")) == (
        "expired",
        True,
    )
    requests.keep(stored)
    with pytest.raises(Conflict, match="Too late: nobody answered"):
        settled(requests)


def test_an_answer_in_the_moment_of_expiry_is_late_even_before_anybody_noticed(
    requests: PermissionRequests,
) -> None:
    opened(requests)
    with pytest.raises(Conflict, match="Too late"):
        requests.settle("a", RequestAnswer(True, "alice"), NOW + 30)


def test_a_withdrawn_ask_takes_no_answer(requests: PermissionRequests) -> None:
    requests.keep(requests.withdraw(opened(requests), NOW))
    with pytest.raises(Conflict, match="whoever asked is gone"):
        settled(requests)


def test_a_question_is_answered_or_denied_never_just_allowed(requests: PermissionRequests) -> None:
    opened(requests, tool="AskUserQuestion")
    with pytest.raises(ClientError, match="answers"):
        settled(requests)
    assert (
        settled(requests, updated_input={"questions": [], "answers": {"Which?": "this"}}).status
        == "allowed"
    )


def test_the_input_of_what_is_denied_cannot_be_changed(requests: PermissionRequests) -> None:
    opened(requests)
    with pytest.raises(ClientError, match="does not run"):
        settled(requests, allowed=False, updated_input={})


def test_an_answer_after_the_decision_of_a_rule_is_told_so(requests: PermissionRequests) -> None:
    opened(requests, "a")
    requests.keep(requests.settle("a", RequestAnswer(True, by="rule", rule="rule_1"), NOW))
    with pytest.raises(Conflict, match="A rule allowed this already"):
        settled(requests, "a")


def test_an_ask_decided_at_once_is_not_kept(requests: PermissionRequests) -> None:
    stored = requests.decided_at_once(
        PermissionRequest("a", "Read", {}),
        RequestAnswer(True, by="built_in", rule="rule_reading"),
        NOW,
    )
    assert (stored.status, stored.decided_by, stored.rule) == (
        "allowed",
        "built_in",
        "rule_reading",
    )
    assert not requests.knows("a")


def test_a_check_changes_nothing_until_it_is_kept(requests: PermissionRequests) -> None:
    stored = opened(requests)
    requests.settle("a", RequestAnswer(True, "alice"), NOW)
    assert requests.find("a") is stored


def test_events_are_numbered_in_order_and_resume_without_gap_or_repeat(
    requests: PermissionRequests,
) -> None:
    opened(requests, "a")
    opened(requests, "b")
    settled(requests, "a")
    events = list(requests.events_after(0))
    assert [(event.stored.id, event.closing) for event in events] == [
        ("a", False),
        ("b", False),
        ("a", True),
    ]
    for place, event in enumerate(events):
        assert list(requests.events_after(event.number)) == events[place + 1 :]


def test_numbers_go_on_growing_when_another_desk_takes_over_or_the_clock_steps_back(
    requests: PermissionRequests,
) -> None:
    opened(requests)
    successor = PermissionRequests(30)
    for stored in requests.pending():
        successor.keep(stored)
    later = successor.open(PermissionRequest("b", "Bash", {}, asked_at=NOW), NOW - 100)
    assert later.opened > requests.last_number
    assert (
        PermissionRequests(30).open(PermissionRequest("c", "Bash", {}), NOW + 1).opened
        > requests.last_number
    )


def test_a_case_counts_as_closed_once(requests: PermissionRequests) -> None:
    stored = opened(requests)
    done = requests.settle("a", RequestAnswer(True, "alice"), NOW)
    assert [requests.keep(stored), requests.keep(done), requests.keep(done)] == [False, True, False]


def test_finished_cases_are_forgotten_pending_ones_never(requests: PermissionRequests) -> None:
    opened(requests, "a")
    opened(requests, "b")
    settled(requests, "a")
    requests.forget_old(NOW + 10_000)
    assert [stored.id for stored in requests.pending()] == ["b"]
    with pytest.raises(NotFound):
        requests.find("a")


def test_an_asker_finds_what_it_asked(requests: PermissionRequests) -> None:
    stored = opened(requests, asker="process:7")
    opened(requests, "b")
    assert requests.asked_by("process:7") == [stored]
    assert requests.asked_by("") == []


def with_open(count: int) -> PermissionRequests:
    """Requests of which `count` are open and as many have ended, one of a caller."""
    requests = PermissionRequests(timeout_seconds=30)
    for number in range(count):
        opened(requests, f"open-{number}", caller=f"caller-{number}")
        opened(requests, f"ended-{number}", caller=f"caller-{number}")
        settled(requests, f"ended-{number}")
    return requests


def one_more(requests: PermissionRequests, names: Iterator[str]) -> None:
    """Open and settle a further request, as the service does."""
    name = next(names)
    ask = PermissionRequest(name, "Bash", {"command": "ls"}, caller=name, asked_at=NOW)
    seen = requests.last_number
    requests.forget_old(NOW)
    assert not requests.share_problem(ask)
    stored = requests.open(ask, NOW)
    assert not requests.refusal(stored)
    requests.keep(stored)
    requests.keep(requests.present(stored))
    assert requests.open_count
    settled(requests, name)
    assert [event.stored.id for event in requests.events_after(seen)] == [name, name]


def test_a_request_costs_no_more_beside_many_open_and_ended_ones() -> None:
    few, many = with_open(5), with_open(400)
    names = (f"new-{number:09}" for number in itertools.count())
    assert operations_of(lambda: one_more(many, names)) == operations_of(
        lambda: one_more(few, names)
    )


def test_the_counts_follow_each_request_to_its_end(requests: PermissionRequests) -> None:
    assert requests.max_open_requests == 16
    for number in range(16):
        opened(requests, str(number), caller="laptop")
    ask = PermissionRequest("one more", "Bash", {}, caller="laptop", asked_at=NOW)
    assert "16" in requests.share_problem(ask)
    assert not requests.share_problem(replace(ask, caller="phone"))
    again = PermissionRequest("3", "Bash", {}, caller="laptop", asked_at=NOW)
    assert not requests.share_problem(again)  # it is one of the sixteen
    settled(requests, "3")
    assert not requests.share_problem(ask)
    requests.drop(requests.find("4"))
    assert requests.open_count == 14
    assert [event.stored.id for event in requests.events_after(0)][-1] == "3"


def test_ended_requests_leave_the_history_oldest_first(requests: PermissionRequests) -> None:
    for number in range(HISTORY_REQUESTS + 3):
        opened(requests, str(number))
        settled(requests, str(number))
    opened(requests, "waits")
    assert [stored.id for stored in requests.forget_old(NOW)] == ["0", "1", "2"]
    assert not requests.forget_old(NOW)
    assert not requests.knows("2")
    assert {event.stored.id for event in requests.events_after(0)} == {
        "waits",
        *(str(number) for number in range(3, HISTORY_REQUESTS + 3)),
    }
    assert len(requests.forget_old(NOW + HISTORY_SECONDS + 2)) == HISTORY_REQUESTS
    assert [event.stored.id for event in requests.events_after(0)] == ["waits"]
