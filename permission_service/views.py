"""The view of a case for people. Names of events and fields are the predecessor's, with ours beside
them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from permission_service.decision import BY_NO_WATCHER, BY_PROTECTION, BY_RULE
from permission_service.desk import Case, Event
from permission_service.presentation import present
from shared.channels import PermissionAsk, PermissionAudit
from shared.exact_json import dump_json
from shared.log import get_log
from shared.permissions.tools import QUESTION

AUDIT_TEXT = 65_536  # characters kept of an input: a written file can be megabytes


def iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def show_request(case: Case) -> dict[str, Any]:
    """Return a request for people: the call, the caller, and the scope of the suggested rule.
    `timeout_seconds` 0: no limit.
    """
    ask = case.ask
    return {
        "request_id": case.id,
        "tool_name": ask.tool_name,
        "input": ask.input,
        "created_at": iso(ask.asked_at),
        "expires_at": iso(case.expires_at),
        "timeout_seconds": case.timeout_seconds,
        "kind": "question" if ask.tool_name == QUESTION else "approval",
        "caller": ask.caller,
        "session_id": ask.session_id,
        "working_directory": ask.working_directory,
        "suggestion": case.suggestion,
    }


def show_presentation(case: Case) -> dict[str, Any]:
    """Return the presentation of the case as JSON, for every view."""
    return {"presentation": case.presentation or present(case.ask, case.suggestion)}


def show_case(case: Case, now: float) -> dict[str, Any]:
    """Return a case and the case's state. `time_remaining` is in seconds, None without a limit."""
    left = None if case.expires_at is None else max(0.0, case.expires_at - now)
    shown = show_request(case) | {"status": case.status, "time_remaining": 0.0 if case.closed else left}
    if not case.closed:
        shown |= show_presentation(case)
    else:
        decision = {"decided_at": iso(case.decided_at), "decided_by": case.decided_by, "rule": case.rule}
        shown |= decision | {"message": case.message, "updated_input": case.updated_input}
    return shown


def show_event(event: Event) -> dict[str, Any]:
    """Return `name` and `data` of the event for HTTP, and the event's number."""
    case = event.case
    if not event.closing:
        name, data = "permission_request", show_request(case) | show_presentation(case)
    else:
        name, data = _closing(case)
    return {"number": event.number, "name": name, "data": {"type": name, "request_id": case.id} | data}


def _closing(case: Case) -> tuple[str, dict[str, Any]]:
    when = iso(case.decided_at)
    match case.status:
        case "expired":
            return "permission_expired", {"expired_at": when, "message": case.message}
        case "cancelled":
            return "permission_cancelled", {"cancelled_at": when, "message": case.message}
    allowed = case.status == "allowed"
    by = {"decided_by": case.decided_by, "rule": case.rule, "edited": case.updated_input is not None}
    return "permission_resolved", {"allowed": allowed, "resolved_at": when, "message": case.message, **by}


def log_question(ask: PermissionAsk) -> None:
    """Write the line of the log for a request that waits for a person, with the ways to answer it."""
    ways = "`ccproxy permission-handler`, or the page /permissions/ui"
    get_log().info(
        "permission_asked", request_id=ask.request_id, tool=ask.tool_name, caller=ask.caller, answer_with=ways
    )


def audit(case: Case) -> PermissionAudit:
    ask, changed = case.ask, case.updated_input
    return PermissionAudit(
        request_id=case.id,
        asked_at=ask.asked_at,
        tool_name=ask.tool_name,
        input=as_text(ask.input),
        caller=ask.caller,
        session_id=ask.session_id,
        working_directory=ask.working_directory,
        outcome=case.status,
        decided_by=case.decided_by,
        rule=case.rule,
        message=case.message,
        updated_input="" if changed is None else as_text(changed),
        waited_ms=max(0.0, (case.decided_at - ask.asked_at) * 1000),
    )


def as_text(given: dict[str, Any]) -> str:
    text = dump_json(given).decode()
    return text if len(text) <= AUDIT_TEXT else text[:AUDIT_TEXT] + "…"


def why(case: Case, rule: str) -> str:
    """Return the reason for the end of `case`. `rule` is the text of the deciding rule."""
    if case.decided_by == BY_RULE:
        return rule or f"a rule that has since been removed ({case.rule})"
    if case.decided_by in {BY_PROTECTION, BY_NO_WATCHER}:
        return case.message
    if case.status == "pending":
        return "nobody has answered yet"
    return f"{case.status} by {case.decided_by}" if case.decided_by else case.message
