"""The permission requests and their states: pending → allowed, denied, expired or cancelled. The
first answer stays.

Pure: no bus, and the clock is handed in. Every change takes two steps, so that the caller can store
it in between: a method checks the change and returns the case as it would be, then `keep` puts the
case in force. Events are not stored; they are derived from the cases. Event numbers only grow, also
over restarts, because they are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from permission_service.presentation import present
from shared.channels import Outcome, PermissionAsk, PermissionDecision
from shared.errors import ClientError, Conflict, NotFound
from shared.permissions.excerpts import excerpt
from shared.permissions.fair_use import SERVICE_FULL, TOO_MANY_OPEN, input_size
from shared.permissions.presented import Presentation
from shared.permissions.suggestions import suggest
from shared.permissions.tools import QUESTION

Status = Literal["pending", "allowed", "denied", "expired", "cancelled"]

HISTORY_SECONDS = 3600.0
HISTORY_CASES = 1000
HISTORY_BYTES = 8 * 1024 * 1024  # of the inputs of ended requests; each is an excerpt of a few kilobytes
OPEN_BYTES = 32 * 1024 * 1024  # of the inputs of all open requests; Redis holds each twice, within its 256 MB
DENIED = "A person denied this. Do not try it again in another way; ask what to do instead."
EXPIRED = "Nobody answered within {seconds:g} seconds, so this was not allowed. The user may be away; go on without it."
WITHDRAWN = "The request was withdrawn before anybody answered."
NEEDS_ANSWERS = "updated_input: a question is answered with the input and its `answers`, or denied."


class NoRoom(ClientError):
    """A permission request is denied because too many are open."""


@dataclass(frozen=True, slots=True)
class Case:
    """A permission request and its state. `opened` and `closed` are event numbers; times are UTC
    seconds.

    `size` is the bytes of the request's input, `suggestion` the rule that people are offered for
    requests like this one.
    """

    ask: PermissionAsk
    opened: int
    expires_at: float | None
    timeout_seconds: float
    status: Status = "pending"
    closed: int = 0
    decided_at: float = 0.0
    decided_by: str = ""
    rule: str = ""
    message: str = ""
    updated_input: dict[str, Any] | None = None
    presentation: Presentation | None = None  # made when the case opens for people, forgotten when it ends
    size: int = 0
    suggestion: dict[str, str] | None = None

    @property
    def id(self) -> str:
        return self.ask.request_id

    def decision(self) -> PermissionDecision:
        assert self.status != "pending"
        return PermissionDecision(
            self.id, self.status, self.message, self.updated_input, decided_by=self.decided_by, rule=self.rule
        )


class Event(NamedTuple):
    """The opening or closing of a case. `number` orders all events."""

    number: int
    case: Case
    closing: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a person, or of a rule, to a permission request."""

    allowed: bool
    by: str
    message: str = ""
    updated_input: dict[str, Any] | None = None
    rule: str = ""


@dataclass
class Desk:
    """All permission requests of the service: pending requests, and ended requests for an hour."""

    timeout_seconds: float
    max_open_requests: int = 16
    _cases: dict[str, Case] = field(default_factory=dict)
    _last_number: int = 0

    def keep(self, case: Case) -> bool:
        """Store `case`. Return True if the update ended the case."""
        known = self._cases.get(case.id)
        self._cases[case.id] = case
        self._last_number = max(self._last_number, case.opened, case.closed)
        return case.closed > (known.closed if known else 0)

    def find(self, request_id: str) -> Case:
        """Return the case of `request_id`. Raises NotFound."""
        if case := self._cases.get(request_id):
            return case
        raise NotFound(f"There is no permission request {request_id!r}, or it ended over an hour ago.")

    def pending(self) -> list[Case]:
        """Return the pending cases, oldest first."""
        waiting = (case for case in self._cases.values() if case.status == "pending")
        return sorted(waiting, key=lambda case: case.opened)

    def finished(self) -> list[Case]:
        """Return the ended cases, latest first."""
        done = (case for case in self._cases.values() if case.closed)
        return sorted(done, key=lambda case: -case.closed)

    def asked_by(self, asker: str) -> list[Case]:
        return [case for case in self.pending() if asker and case.ask.asker == asker]

    def open(self, ask: PermissionAsk, now: float) -> Case:
        """Return a new case for `ask`, or the known one: a request is delivered again after a
        restart.
        """
        if known := self._cases.get(ask.request_id):
            return known
        seconds = self.timeout_seconds if ask.timeout_seconds is None else max(0.0, ask.timeout_seconds)
        return Case(
            ask,
            self._next_number(now),
            ask.asked_at + seconds if seconds else None,
            seconds,
            size=input_size(ask.input),
            suggestion=suggest(ask),
        )

    def refusal(self, case: Case) -> str:
        """Return a sentence against opening `case` beside the pending ones; an empty text if there
        is room.
        """
        if problem := self.share_problem(case.ask):
            return problem
        pending = [known for known in self.pending() if known.id != case.id]
        if sum(known.size for known in pending) + case.size > OPEN_BYTES:
            return SERVICE_FULL
        return ""

    def share_problem(self, ask: PermissionAsk) -> str:
        """Return the reason why the caller of `ask` may not open a further request; "" when the
        caller's share has room.
        """
        of_caller = sum(known.ask.caller == ask.caller for known in self.pending() if known.id != ask.request_id)
        return TOO_MANY_OPEN.format(open=of_caller) if of_caller >= self.max_open_requests else ""

    def refuse(self, ask: PermissionAsk, message: str, now: float) -> Case:
        """Return the ended case of an ask that is denied because of a limit. The case is never
        kept: a flood of refusals must not push out the decisions of people.
        """
        return self.decided_at_once(ask, Answer(allowed=False, by="limit", message=message), now)

    def decided_at_once(self, ask: PermissionAsk, answer: Answer, now: float) -> Case:
        """Return the ended case of an ask that no person is asked about. The case is not kept."""
        number = self._next_number(now)
        status: Outcome = "allowed" if answer.allowed else "denied"
        case = Case(ask, number, None, 0.0, status, number, now)
        return replace(case, decided_by=answer.by, rule=answer.rule, message=answer.message)

    def knows(self, request_id: str) -> bool:
        """Return True when the ask was opened before."""
        return request_id in self._cases

    def present(self, case: Case) -> Case:
        """Return `case` with a presentation, without the text of the file the call would change."""
        if case.status != "pending" or case.presentation is not None:
            return case
        shown = present(case.ask, case.suggestion)
        return replace(case, ask=replace(case.ask, file_before=None), presentation=shown)

    def settle(self, request_id: str, answer: Answer, now: float) -> Case:
        """Return the pending case `request_id` with `answer`.

        Raises NotFound, Conflict when the case has ended already, and ClientError for an answer
        that does not fit.
        """
        case = self.find(request_id)
        if case.status == "pending" and case.expires_at is not None and now >= case.expires_at:
            case = self.expire(case, now)
        if case.status != "pending":
            raise Conflict(what_happened(case))
        if answer.allowed and case.ask.tool_name == QUESTION and not (answer.updated_input or {}).get("answers"):
            raise ClientError(NEEDS_ANSWERS)
        if not answer.allowed and answer.updated_input is not None:
            raise ClientError("updated_input: what is denied does not run, so its input cannot be changed.")
        settled = self._close(case, "allowed" if answer.allowed else "denied", answer.message, now)
        if not answer.allowed and not answer.message:
            settled = replace(settled, message=DENIED)
        return replace(settled, decided_by=answer.by, rule=answer.rule, updated_input=answer.updated_input)

    def expire(self, case: Case, now: float) -> Case:
        return self._close(case, "expired", EXPIRED.format(seconds=case.timeout_seconds), now)

    def withdraw(self, case: Case, now: float) -> Case:
        """Return `case` as cancelled: the agent no longer waits for the answer."""
        return self._close(case, "cancelled", WITHDRAWN, now)

    def events_after(self, number: int) -> Iterator[Event]:
        """Yield the events after event `number`, in order. A case that opened and closed since then
        yields both events.
        """
        opened = [Event(case.opened, case, False) for case in self._cases.values() if case.opened > number]
        closed = [Event(case.closed, case, True) for case in self._cases.values() if case.closed > number]
        yield from sorted(opened + closed, key=lambda event: event.number)

    @property
    def last_number(self) -> int:
        return self._last_number

    def drop(self, case: Case) -> None:
        """Forget an unreported case."""
        del self._cases[case.id]

    def shorten(self, case: Case) -> Case:
        """Return an ended `case` with an excerpt of the input.

        An input that a person changed stays whole: an answer that got lost is sent again.
        """
        kept = excerpt(case.ask.input)
        suggestion = case.suggestion if kept is case.ask.input else None
        return replace(case, ask=replace(case.ask, input=kept), size=input_size(kept), suggestion=suggestion)

    def forget_old(self, now: float) -> list[Case]:
        """Forget and return ended cases beyond the limits of time, number and bytes."""
        kept_bytes, forgotten = 0, []
        for place, case in enumerate(self.finished()):
            kept_bytes += case.size
            if place >= HISTORY_CASES or kept_bytes > HISTORY_BYTES or now - case.decided_at > HISTORY_SECONDS:
                del self._cases[case.id]
                forgotten.append(case)
        return forgotten

    def _close(self, case: Case, status: Outcome, message: str, now: float) -> Case:
        ended = replace(case, status=status, closed=self._next_number(now), decided_at=now, message=message)
        return replace(ended, ask=replace(case.ask, file_before=None), presentation=None)

    def _next_number(self, now: float) -> int:
        return max(self._last_number + 1, int(now * 1000))


def what_happened(case: Case) -> str:
    """Return a sentence for the author of a late answer."""
    match case.status:
        case "expired":
            return "Too late: nobody answered in time, and the tool was told no."
        case "cancelled":
            return "Too late: whoever asked is gone, and the request was withdrawn."
        case _ if case.decided_by in {"rule", "built_in", "protection"}:
            return f"A rule {case.status} this already."
        case _:
            return f"{case.decided_by or 'Somebody'} {case.status} this already; the first answer counts."
