"""The reports of a session's idle times, for those who do not follow its stream. Pure.

Invariant: a step makes at most one report, of the status that the session has after the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, takewhile
from typing import Any

from shared.bus.session_reports import SessionOutcome, SessionReport
from shared.formats.ir import Json

MOST_WORDS = 300  # characters of an agent's last words, or of an error
STATUS_EVENTS = frozenset({"session.status_idle", "session.status_running"})
# The outcomes by the type of the idle status' stop reason; any other reason is a failure.
OUTCOMES: dict[str, SessionOutcome] = {"end_turn": "done", "requires_action": "waits"}
REFUSED = "The model refused to answer."


def idle_event_of(logged: Sequence[Json]) -> Json | None:
    """Return the idle status that the session has after the events `logged`; None if the session
    runs, or its status is unchanged.
    """
    statuses = [event for event in logged if event["type"] in STATUS_EVENTS]
    if statuses and statuses[-1]["type"] == "session.status_idle":
        return statuses[-1]
    return None


def session_report(
    idle: Json,
    session: Json,
    folder: str | None,
    caller: str,
    newest: Iterable[Json],
    waiting: Mapping[str, Any],
) -> SessionReport:
    """Return the report of the event `idle` of a stored `session`. `newest` are the events up to
    `idle`, newest first; `waiting` has what the session waits for by event id, with a `request_id`
    if a person is asked.
    """
    newest = list(newest)
    reason = idle["stop_reason"]
    outcome = OUTCOMES.get(reason["type"], "failed")
    # A person is told of a permission request by the request itself, with buttons.
    asked = [waiting.get(event_id, {}) for event_id in reason.get("event_ids", ())]
    is_asked = bool(asked) and all("request_id" in each for each in asked)
    return SessionReport(
        id=idle["id"],
        session_id=session["id"],
        caller=caller,
        outcome=outcome,
        at=datetime.fromisoformat(idle["processed_at"]).timestamp(),
        agent=session["agent"]["name"],
        title=session["title"] or "",
        folder=folder or "",
        text=REFUSED if reason["type"] == "refusal" else last_words(newest, outcome),
        # Whoever has stopped a turn knows that it has ended.
        is_for_person=not is_asked and not was_stopped(newest),
    )


def was_stopped(newest: Iterable[Json]) -> bool:
    """Return True if a client has interrupted the turn."""
    kinds = (event["type"] for event in newest)
    return any(kind == "user.interrupt" for kind in takewhile(is_of_turn, kinds))


def is_of_turn(kind: str) -> bool:
    return kind != "user.message"


def last_words(newest: Iterable[Json], outcome: SessionOutcome) -> str:
    """Return the error of a failed turn, else the beginning of the agent's last message in it; an
    empty text without any.
    """
    for event in newest:
        if event["type"] == "user.message":
            break
        if event["type"] == "session.error" and outcome == "failed":
            return str(event["error"]["message"])[:MOST_WORDS]
        if event["type"] == "agent.message" and outcome == "done":
            texts = (block.get("text", "") for block in event["content"])
            return "".join(texts)[:MOST_WORDS]
    return ""


def newest_first(logged: Sequence[Json], before: Iterable[Json]) -> Iterable[Json]:
    """Return the events of a step and the events `before` the step, newest first."""
    return chain(reversed(logged), before)
