"""The view of a request for people. Names of events and fields are the predecessor's, with ours
beside them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from permission_service.presentation import present
from permission_service.requests import Event, StoredRequest
from shared.bus.channels import PermissionAudit, PermissionRequest
from shared.permissions.deciders import BY_NO_WATCHER, BY_PROTECTION, BY_RULE, BY_WHAT_IS_WRITTEN
from shared.permissions.tools import QUESTION
from shared.runtime.exact_json import dump_json
from shared.runtime.log import get_log
from shared.runtime.times import iso_time_or_none

AUDIT_TEXT = 65_536  # characters kept of an input: a written file can be megabytes


def show_request(stored: StoredRequest) -> dict[str, Any]:
    """Return a request for people: the call, the caller, and the scope of the suggested rule.
    `timeout_seconds` 0: no limit.
    """
    ask = stored.ask
    return {
        "request_id": stored.id,
        "tool_name": ask.tool_name,
        "input": ask.input,
        "created_at": iso_time_or_none(ask.asked_at),
        "expires_at": iso_time_or_none(stored.expires_at),
        "timeout_seconds": stored.timeout_seconds,
        "kind": "question" if ask.tool_name == QUESTION else "approval",
        "caller": ask.caller,
        "session_id": ask.session_id,
        "working_directory": ask.working_directory,
        "program": ask.program,
        "machine": ask.machine,
        "fixed_input": ask.fixed_input,
        "suggestion": stored.suggestion,
    }


def show_presentation(stored: StoredRequest) -> dict[str, Any]:
    """Return the presentation of the request as JSON, for every view."""
    return {"presentation": stored.presentation or present(stored.ask, stored.suggestion)}


def show_state(stored: StoredRequest, now: float) -> dict[str, Any]:
    """Return a request and the request's state. `time_remaining` is in seconds, None without a
    limit.
    """
    left = None if stored.expires_at is None else max(0.0, stored.expires_at - now)
    shown = show_request(stored) | {
        "status": stored.status,
        "time_remaining": 0.0 if stored.closed else left,
    }
    if not stored.closed:
        shown |= show_presentation(stored)
    else:
        decision = {
            "decided_at": iso_time_or_none(stored.decided_at),
            "decided_by": stored.decided_by,
            "rule": stored.rule,
        }
        shown |= decision | {"message": stored.message, "updated_input": stored.updated_input}
    return shown


def show_event(event: Event) -> dict[str, Any]:
    """Return `name` and `data` of the event for HTTP, and the event's number."""
    stored = event.stored
    if not event.closing:
        name = "permission_request"
        data = show_request(stored) | show_presentation(stored)
    else:
        name, data = _closing(stored)
    return {
        "number": event.number,
        "name": name,
        "data": {"type": name, "request_id": stored.id} | data,
    }


def _closing(stored: StoredRequest) -> tuple[str, dict[str, Any]]:
    when = iso_time_or_none(stored.decided_at)
    match stored.status:
        case "expired":
            return "permission_expired", {"expired_at": when, "message": stored.message}
        case "cancelled" | "undecided":
            return "permission_cancelled", {
                "cancelled_at": when,
                "message": stored.message,
                "handed_back": stored.status == "undecided",
            }
    allowed = stored.status == "allowed"
    by = {
        "decided_by": stored.decided_by,
        "rule": stored.rule,
        "edited": stored.updated_input is not None,
    }
    return "permission_resolved", {
        "allowed": allowed,
        "resolved_at": when,
        "message": stored.message,
        **by,
    }


def log_question(ask: PermissionRequest) -> None:
    """Write the line of the log for a request waiting for a person, with the ways to answer."""
    ways = "`ccproxy permission-handler`, or the page /permissions/ui"
    get_log().info(
        "permission_asked",
        request_id=ask.request_id,
        tool=ask.tool_name,
        caller=ask.caller,
        answer_with=ways,
    )


def audit(stored: StoredRequest) -> PermissionAudit:
    ask = stored.ask
    changed = stored.updated_input
    return PermissionAudit(
        request_id=stored.id,
        asked_at=ask.asked_at,
        tool_name=ask.tool_name,
        input=as_text(ask.input),
        caller=ask.caller,
        session_id=ask.session_id,
        working_directory=ask.working_directory,
        outcome=stored.status,
        decided_by=stored.decided_by,
        rule=stored.rule,
        message=stored.message,
        updated_input="" if changed is None else as_text(changed),
        waited_ms=max(0.0, (stored.decided_at - ask.asked_at) * 1000),
        program=ask.program,
        machine=ask.machine,
        circumstances=_circumstances(ask),
    )


def _circumstances(ask: PermissionRequest) -> str:
    # A refused request is an excerpt: judged again, it could be taken for a shorter call.
    if ask.refused:
        return ""
    reach = None if ask.reach is None else asdict(ask.reach)
    known = {
        "reach": reach,
        "bypass": ask.bypass,
        "insists": ask.insists,
        "must_ask": ask.must_ask,
    }
    return dump_json(known).decode()


def as_text(given: dict[str, Any]) -> str:
    text = dump_json(given).decode()
    return text if len(text) <= AUDIT_TEXT else text[:AUDIT_TEXT] + "…"


def why(stored: StoredRequest, rule: str) -> str:
    """Return the reason for the end of `stored`. `rule` is the text of the deciding rule."""
    if stored.decided_by == BY_RULE:
        return rule or f"a rule that has since been removed ({stored.rule})"
    if stored.decided_by in {BY_PROTECTION, BY_NO_WATCHER}:
        return stored.message
    if stored.status == "pending":
        return "nobody has answered yet"
    if not stored.decided_by:
        return stored.message
    if stored.decided_by in BY_WHAT_IS_WRITTEN:
        return f"{stored.status} by {stored.decided_by}"
    waited = round(stored.decided_at - stored.ask.asked_at)
    return f"{stored.decided_by} answered after {waited} s; no rule had decided"
