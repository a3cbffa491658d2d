"""The report of a step: the status that the session has after it, for whom, and the last words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.managed.narration import new_event, requires_action
from gateway.managed.reports import MOST_WORDS, idle_event_of, newest_first, session_report
from gateway.managed.turn_events import failure_events, idle_event
from shared.bus.session_reports import SessionReport
from shared.runtime.errors import CCProxyError

SESSION = {"id": "sesn_1", "title": None, "agent": {"name": "helper"}}


def said(text: str) -> dict[str, Any]:
    return new_event("agent.message", content=[{"type": "text", "text": text}])


def reported(*events: Any, waiting: Any = None, before: Any = ()) -> SessionReport:
    idle = idle_event_of(events)
    assert idle is not None
    newest = newest_first(events, before)
    return session_report(idle, SESSION, "/srv", "laptop", newest, waiting or {})


def test_a_turn_that_ended_is_done_with_the_agents_last_words() -> None:
    found = reported(idle_event({"type": "end_turn"}), before=[said("Last."), said("First.")])
    assert (found.outcome, found.text, found.is_for_person) == ("done", "Last.", True)
    assert (found.agent, found.title, found.folder) == ("helper", "", "/srv")
    assert (found.session_id, found.caller) == ("sesn_1", "laptop")
    assert found.at > 0


def test_the_words_of_an_earlier_turn_are_not_those_of_this_one() -> None:
    question = new_event("user.message", content=[])
    found = reported(idle_event({"type": "end_turn"}), before=[question, said("Earlier.")])
    assert found.text == ""


@pytest.mark.parametrize("words", ["x" * 2 * MOST_WORDS])
def test_long_words_are_cut(words: str) -> None:
    found = reported(said(words), idle_event({"type": "end_turn"}))
    assert found.text == "x" * MOST_WORDS


def test_a_turn_that_failed_has_its_error_and_a_refusal_says_so() -> None:
    found = reported(said("Half."), *failure_events(CCProxyError("Nothing works.")))
    assert (found.outcome, found.text) == ("failed", "Nothing works.")
    found = reported(idle_event({"type": "refusal"}))
    assert (found.outcome, found.text) == ("failed", "The model refused to answer.")


def test_a_wait_is_for_a_person_unless_a_permission_request_tells_the_person_already() -> None:
    asked = {"sevt_1": {"request_id": "r"}}
    assert reported(requires_action(["sevt_1"]), waiting=asked).is_for_person is False
    found = reported(requires_action(["sevt_1", "sevt_2"]), waiting=asked | {"sevt_2": {}})
    assert (found.outcome, found.is_for_person) == ("waits", True)


def test_a_turn_that_a_client_stopped_is_for_programs_alone_and_the_next_one_is_not() -> None:
    stopped = [new_event("user.interrupt")]
    assert reported(idle_event({"type": "end_turn"}), before=stopped).is_for_person is False
    later = [new_event("user.message", content=[]), *stopped]
    assert reported(idle_event({"type": "end_turn"}), before=later).is_for_person is True


def test_a_step_after_which_the_session_runs_or_that_changes_no_status_has_no_report() -> None:
    assert idle_event_of([said("Hello.")]) is None
    running = new_event("session.status_running")
    assert idle_event_of([requires_action(["sevt_1"]), running]) is None
