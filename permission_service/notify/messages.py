"""Messages to the owner's phone: what they say of a permission request, of an agent's news, or of
an alert. Pure.

Invariants: without `details` a message names the agent, its machine and the tool, and nothing of
the tool's input, no path and no words of an agent. With `details`, a message that cannot show all
of the input says so, and offers no Allow: what is allowed has been seen. Every text has been
through `visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from permission_service.alerts.alert import Alert
from permission_service.draft import line
from permission_service.presentation import present
from permission_service.requests import StoredRequest
from permission_service.states import RequestState
from shared.bus.session_reports import SessionOutcome, SessionReport
from shared.permissions.deciders import BY_LOCAL, BY_WHAT_IS_WRITTEN
from shared.permissions.presented import Block
from shared.permissions.tools import QUESTION
from shared.runtime.visible_text import visible

EventType = Literal[
    "permission.waiting",
    "permission.ended",
    "agent.waits",
    "agent.done",
    "session.status_idled",
    "alert",
    "test",
]

MAX_TEXT_BYTES = 3000  # ntfy makes an attachment of a message beyond 4,096 bytes
MAX_NAME = 80  # characters of a name in a title
CUT = "\n… {hidden} more bytes. Open the page to see all of it."
ANSWERED = frozenset({"allowed", "denied"})
OUTCOMES: dict[RequestState, str] = {
    "allowed": "Allowed",
    "denied": "Denied",
    "expired": "Nobody answered in time",
    "cancelled": "Withdrawn",
    "undecided": "The agent asks in its own terminal now",
}
NEWS: dict[str, tuple[EventType, str]] = {
    "waits": ("agent.waits", "waits for you"),
    "done": ("agent.done", "is done"),
}
REPORTS: dict[SessionOutcome, str] = {
    "done": "is done",
    "failed": "has failed",
    "waits": "waits for its client",
}


@dataclass(frozen=True, slots=True)
class Notification:
    """A message, the same for every way. `id` names the event for good: a receiver that knows the
    id has seen the message.

    `request_id` is the permission request of the message, or empty. `may_allow`: the message may
    offer Allow beside Deny. A `quiet` message makes no sound. `facts` are for programs.
    `expires_at` is the end of the request's time in UTC seconds, or None.
    """

    id: str
    type: EventType
    title: str
    text: str
    at: float
    request_id: str = ""
    may_allow: bool = False
    urgent: bool = False
    quiet: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    expires_at: float | None = None


def request_message(stored: StoredRequest, *, details: bool) -> Notification:
    """Return the message of a permission request that waits for a person."""
    ask = stored.ask
    program = line(ask.program, MAX_NAME) or "An agent"
    is_question = ask.tool_name == QUESTION
    whole = True
    if details:
        shown = stored.presentation or present(ask, stored.suggestion)
        asker = [f"{fact.label}: {fact.text}" for fact in shown.asker]
        parts = [*shown.warnings, *(_block_text(block) for block in shown.blocks)]
        parts += [question.text for question in shown.questions]
        title = f"{program}: {shown.title}"
        text, whole = _cut("\n".join([*parts, *asker]))
        whole = whole and shown.complete
    else:
        title = f"{program} asks you something"
        if not is_question:
            title = f"{program} asks for permission: {line(ask.tool_name, MAX_NAME)}"
        facts = {"Caller": ask.caller or BY_LOCAL, "Machine": ask.machine}
        text = "\n".join(f"{label}: {line(fact)}" for label, fact in facts.items() if fact)
    return Notification(
        f"permission-{stored.id}",
        "permission.waiting",
        title,
        text,
        ask.asked_at,
        request_id=stored.id,
        # A question is answered with words, and not with a button.
        may_allow=whole and not is_question,
        urgent=True,
        expires_at=stored.expires_at,
    )


def ended_message(stored: StoredRequest, now: float) -> Notification:
    """Return the message that replaces an ended request's message, for receivers able to replace
    messages. The text names the agent, the tool and the outcome, and no part of the input.
    """
    ask = stored.ask
    program = line(ask.program, MAX_NAME) or "An agent"
    words = OUTCOMES[stored.status]
    if stored.status in ANSWERED and stored.decided_by:
        is_written = stored.decided_by in BY_WHAT_IS_WRITTEN
        words = f"{words} by {'a rule' if is_written else line(stored.decided_by, MAX_NAME)}"
    return Notification(
        ended_id(stored.id),
        "permission.ended",
        words,
        f"{program} asked for permission: {line(ask.tool_name, MAX_NAME)}",
        now,
        request_id=stored.id,
        quiet=True,
    )


def ended_id(request_id: str) -> str:
    """Return the id of the message that a request has ended."""
    return f"ended-{request_id}"


def news_message(event_id: str, data: dict[str, Any], at: float, *, details: bool) -> Notification:
    """Return the message of an agent's news: the fields of `HookNotice`, escaped."""
    kind, words = NEWS[data["kind"]]
    facts = {"Machine": data.get("machine")}
    if details:
        facts = {"": data.get("text"), "Folder": data.get("folder")} | facts
    lines = [f"{label}: {fact}" if label else str(fact) for label, fact in facts.items() if fact]
    program = line(str(data.get("program") or ""), MAX_NAME) or "An agent"
    title = f"{program} {words}"
    return Notification(event_id, kind, title, "\n".join(lines) or title, at)


def report_message(report: SessionReport, *, details: bool) -> Notification:
    """Return the message of a managed session that became idle, escaped."""
    facts = {"Session": report.session_id}
    if details:
        facts = {"": report.text, "Title": report.title, "Folder": report.folder} | facts
    lines = [f"{label}: {line(fact)}" if label else line(fact) for label, fact in facts.items()]
    shown = [text for text, fact in zip(lines, facts.values(), strict=True) if fact]
    return Notification(
        report.id,
        "session.status_idled",
        f"{line(report.agent, MAX_NAME)} {REPORTS[report.outcome]}",
        "\n".join(shown),
        report.at,
        facts={"session_id": report.session_id, "caller": report.caller or BY_LOCAL},
    )


def alert_message(alert: Alert) -> Notification:
    """Return the message of an alert, escaped; its words never hold a path or a secret."""
    facts = {"kind": alert.kind, "subject": alert.subject, "level": alert.level}
    title = line(alert.title)
    text = line(alert.text) or title
    return Notification(alert.id, "alert", title, text, alert.at, quiet=alert.quiet, facts=facts)


def trial_message(event_id: str, at: float) -> Notification:
    """Return the message for `ccproxy notify test`."""
    return Notification(event_id, "test", "CCProxy", "This is a test: notifications arrive.", at)


def _block_text(block: Block) -> str:
    return f"{block.label}: " + "\n".join(_block_lines(block))


def _block_lines(block: Block) -> Iterator[str]:
    if block.note:
        yield block.note
    if block.kind == "diff":
        yield ""
        yield from (f"{row.mark} {row.text}" for row in block.rows)
    else:
        yield visible(block.text)


def _cut(text: str) -> tuple[str, bool]:
    """Return `text` within MAX_TEXT_BYTES, and True if nothing was cut."""
    data = text.encode()
    if len(data) <= MAX_TEXT_BYTES:
        return text, True
    # A character that the cut divides is left out.
    kept = data[:MAX_TEXT_BYTES].decode(errors="ignore")
    return kept + CUT.format(hidden=len(data) - len(kept.encode())), False
