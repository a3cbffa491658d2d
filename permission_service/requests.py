"""The permission requests, each in a state of `states`. The first answer stays.

Pure: no bus, and the clock is handed in. Every change takes two steps, so that the caller can store
it in between: a method checks the change and returns the request as it would be, then `keep` puts
the request in force. Events are not stored; they are derived from the requests. Event numbers only
grow, also over restarts, because they are milliseconds.

Invariant: no change costs more the more requests are open. What a change asks about all of them is
counted as they come and go, and events are found by their number.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from permission_service.presentation import present
from permission_service.states import PERMISSION_REQUEST, RequestEvent, RequestState
from shared.bus.channels import PermissionDecision, PermissionRequest
from shared.permissions.deciders import BY_LIMIT, BY_WHAT_IS_WRITTEN
from shared.permissions.excerpts import excerpt
from shared.permissions.fair_use import SERVICE_FULL, TOO_MANY_OPEN, input_size
from shared.permissions.presented import Presentation
from shared.permissions.suggestions import suggest
from shared.permissions.tools import QUESTION
from shared.runtime.errors import ClientError, Conflict, NotFound

HISTORY_SECONDS = 3600.0
HISTORY_REQUESTS = 1000
# of the inputs of ended requests; each is an excerpt of a few kilobytes
HISTORY_BYTES = 8 * 1024 * 1024
# of the inputs of all open requests; Redis holds each twice, within its 256 MB
OPEN_BYTES = 32 * 1024 * 1024
DENIED = "A person denied this. Do not try it again in another way; ask what to do instead."
EXPIRED = (
    "Nobody answered within {seconds:g} seconds, so this was not allowed. The user may be away; "
    "go on without it."
)
EXPIRED_HERE = "Nobody answered within {seconds:g} seconds, so the agent asks in its own terminal."
FIXED_INPUT = (
    "updated_input: {program} takes no changed input. Deny the request, and say in `message` what "
    "to do instead."
)
WITHDRAWN = "The request was withdrawn before anybody answered."
NEEDS_ANSWERS = "updated_input: a question is answered with the input and its `answers`, or denied."


class NoRoom(ClientError):
    """A permission request is denied because too many are open."""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A permission request and its state. `opened` and `closed` are event numbers; times are UTC
    seconds.

    `size` is the bytes of the request's input, `suggestion` the rule that people are offered for
    requests like this one.
    """

    ask: PermissionRequest
    opened: int
    expires_at: float | None
    timeout_seconds: float
    status: RequestState = PERMISSION_REQUEST.beginning
    closed: int = 0
    decided_at: float = 0.0
    decided_by: str = ""
    rule: str = ""
    message: str = ""
    updated_input: dict[str, Any] | None = None
    presentation: Presentation | None = (
        None  # made when the request opens for people, forgotten when it ends
    )
    size: int = 0
    suggestion: dict[str, str] | None = None

    @property
    def id(self) -> str:
        return self.ask.request_id

    def is_overdue(self, now: float) -> bool:
        """Return True when the time for an answer is over."""
        return self.expires_at is not None and now >= self.expires_at

    def decision(self) -> PermissionDecision:
        assert self.status != "pending"
        return PermissionDecision(
            self.id,
            self.status,
            self.message,
            self.updated_input,
            decided_by=self.decided_by,
            rule=self.rule,
        )


class Event(NamedTuple):
    """The opening or closing of a request. `number` orders all events."""

    number: int
    stored: StoredRequest
    closing: bool


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """The answer of a person, or of a rule, to a permission request."""

    allowed: bool
    by: str
    message: str = ""
    updated_input: dict[str, Any] | None = None
    rule: str = ""

    @property
    def event(self) -> RequestEvent:
        return "allow" if self.allowed else "deny"


@dataclass
class PermissionRequests:
    """All permission requests of the service: pending requests, and ended requests for an hour."""

    timeout_seconds: float
    max_open_requests: int = 16
    _store: dict[str, StoredRequest] = field(default_factory=dict)
    _pending: dict[str, StoredRequest] = field(default_factory=dict)
    _ended: dict[str, StoredRequest] = field(default_factory=dict)  # in the order of their ends
    _events: list[tuple[int, str]] = field(default_factory=list)  # numbers and ids, in order
    _open_of_caller: Counter[str] = field(default_factory=Counter)
    _open_bytes: int = 0
    _ended_bytes: int = 0
    _last_number: int = 0

    def keep(self, stored: StoredRequest) -> bool:
        """Store `stored`. Return True if the update ended the request."""
        known = self._store.get(stored.id)
        if known is not None:
            self._count(known, -1)
        self._count(stored, 1)
        self._store[stored.id] = stored
        if stored.status == "pending":
            self._pending[stored.id] = stored
        else:
            self._pending.pop(stored.id, None)
            self._ended[stored.id] = stored
        if known is None:
            insort(self._events, (stored.opened, stored.id))
        if stored.closed > (known.closed if known else 0):
            insort(self._events, (stored.closed, stored.id))
        self._last_number = max(self._last_number, stored.opened, stored.closed)
        # Only the update that closes the request counts as its end; the excerpt stored later has
        # the same number.
        return stored.closed > (known.closed if known else 0)

    def find(self, request_id: str) -> StoredRequest:
        """Return the request of `request_id`. Raises NotFound."""
        if stored := self._store.get(request_id):
            return stored
        raise NotFound(
            f"There is no permission request {request_id!r}, or it ended over an hour ago."
        )

    def pending(self) -> list[StoredRequest]:
        """Return the pending requests, oldest first."""
        return sorted(self._pending.values(), key=lambda stored: stored.opened)

    @property
    def open_count(self) -> int:
        """Return the number of pending requests."""
        return len(self._pending)

    def finished(self) -> list[StoredRequest]:
        """Return the ended requests, latest first."""
        return sorted(self._ended.values(), key=lambda stored: -stored.closed)

    def asked_by(self, asker: str) -> list[StoredRequest]:
        return [stored for stored in self.pending() if asker and stored.ask.asker == asker]

    def open(self, ask: PermissionRequest, now: float) -> StoredRequest:
        """Return a new request for `ask`, or the known one: a request is delivered again after a
        restart.
        """
        if known := self._store.get(ask.request_id):
            return known
        seconds = (
            self.timeout_seconds if ask.timeout_seconds is None else max(0.0, ask.timeout_seconds)
        )
        return StoredRequest(
            ask,
            self._next_number(now),
            ask.asked_at + seconds if seconds else None,
            seconds,
            size=input_size(ask.input),
            suggestion=suggest(ask),
        )

    def refusal(self, stored: StoredRequest) -> str:
        """Return a sentence against opening `stored` beside the pending ones; an empty text if
        there is room.
        """
        if problem := self.share_problem(stored.ask):
            return problem
        known = self._pending.get(stored.id)
        of_others = self._open_bytes - (known.size if known else 0)
        return SERVICE_FULL if of_others + stored.size > OPEN_BYTES else ""

    def share_problem(self, ask: PermissionRequest) -> str:
        """Return the reason why the caller of `ask` may not open a further request; "" when the
        caller's share has room.
        """
        known = self._pending.get(ask.request_id)
        is_counted = known is not None and known.ask.caller == ask.caller
        of_caller = self._open_of_caller[ask.caller] - is_counted
        return TOO_MANY_OPEN.format(open=of_caller) if of_caller >= self.max_open_requests else ""

    def refuse(self, ask: PermissionRequest, message: str, now: float) -> StoredRequest:
        """Return the ended request of an ask that is denied because of a limit. The request is
        never kept: a flood of refusals must not push out the decisions of people.
        """
        return self.decided_at_once(
            ask, RequestAnswer(allowed=False, by=BY_LIMIT, message=message), now
        )

    def decided_at_once(
        self, ask: PermissionRequest, answer: RequestAnswer, now: float
    ) -> StoredRequest:
        """Return the ended request of an ask that no person is asked about. The request is not
        kept.
        """
        return self._ended_at_once(
            ask,
            answer.event,
            now,
            decided_by=answer.by,
            rule=answer.rule,
            message=answer.message,
        )

    def undecided_at_once(
        self, ask: PermissionRequest, by: str, message: str, now: float
    ) -> StoredRequest:
        """Return the ended request of an ask that is left to the agent's own terminal. The request
        is not kept.
        """
        return self._ended_at_once(ask, "hand back", now, decided_by=by, message=message)

    def _ended_at_once(
        self, ask: PermissionRequest, event: RequestEvent, now: float, **fields: Any
    ) -> StoredRequest:
        # One number for both: the request opens and closes in the same moment, and no watcher hears
        # of it.
        number = self._next_number(now)
        stored = StoredRequest(ask, number, None, 0.0, closed=number, decided_at=now)
        status = PERMISSION_REQUEST.advance(stored.status, event)
        return replace(stored, status=status, **fields)

    def take_number(self, now: float) -> int:
        """Return the number for an event without a request, and count the number as taken."""
        self._last_number = self._next_number(now)
        return self._last_number

    def knows(self, request_id: str) -> bool:
        """Return True when the ask was opened before."""
        return request_id in self._store

    def present(self, stored: StoredRequest) -> StoredRequest:
        """Return `stored` with a presentation, without the text of the file the call
        would change.
        """
        if stored.status != "pending" or stored.presentation is not None:
            return stored
        shown = present(stored.ask, stored.suggestion)
        return replace(stored, ask=replace(stored.ask, file_before=None), presentation=shown)

    def settle(self, request_id: str, answer: RequestAnswer, now: float) -> StoredRequest:
        """Return the pending request `request_id` with `answer`.

        Raises NotFound, Conflict when the request has ended already, and ClientError for an answer
        that does not fit.
        """
        stored = self.find(request_id)
        if stored.status == "pending" and stored.is_overdue(now):
            # The time may be over although no task has noted it yet. An answer after the end must
            # not count, whatever task runs first.
            stored = self.expire(stored, now)
        if stored.status != "pending":
            raise Conflict(what_happened(stored))
        if (
            answer.allowed
            and stored.ask.tool_name == QUESTION
            and not (answer.updated_input or {}).get("answers")
        ):
            raise ClientError(NEEDS_ANSWERS)
        if not answer.allowed and answer.updated_input is not None:
            raise ClientError(
                "updated_input: what is denied does not run, so its input cannot be changed."
            )
        changed = answer.updated_input is not None and answer.updated_input != stored.ask.input
        if changed and stored.ask.fixed_input:
            raise ClientError(FIXED_INPUT.format(program=stored.ask.program or "The agent"))
        settled = self._close(stored, answer.event, answer.message, now)
        if not answer.allowed and not answer.message:
            settled = replace(settled, message=DENIED)
        return replace(
            settled, decided_by=answer.by, rule=answer.rule, updated_input=answer.updated_input
        )

    def expire(self, stored: StoredRequest, now: float) -> StoredRequest:
        sentence = EXPIRED_HERE if stored.ask.asks_itself else EXPIRED
        return self._close(stored, "expire", sentence.format(seconds=stored.timeout_seconds), now)

    def hand_back(self, stored: StoredRequest, message: str, now: float) -> StoredRequest:
        """Return `stored` as undecided because of `message`: the agent asks in its own terminal."""
        return self._close(stored, "hand back", message, now)

    def withdraw(self, stored: StoredRequest, now: float) -> StoredRequest:
        """Return `stored` as cancelled: the agent no longer waits for the answer."""
        return self._close(stored, "withdraw", WITHDRAWN, now)

    def events_after(self, number: int) -> Iterator[Event]:
        """Yield the events after event `number`, in order. A request that opened and closed since
        then yields both events.
        """
        newer = self._events[bisect_left(self._events, (number + 1, "")) :]
        for at, request_id in newer:
            stored = self._store[request_id]
            yield Event(at, stored, at == stored.closed)

    @property
    def last_number(self) -> int:
        return self._last_number

    def drop(self, stored: StoredRequest) -> None:
        """Forget an unreported case."""
        self._forget(stored.id)

    def shorten(self, stored: StoredRequest) -> StoredRequest:
        """Return an ended `stored` with an excerpt of the input.

        An input that a person changed stays whole: an answer that got lost is sent again.
        """
        kept = excerpt(stored.ask.input)
        suggestion = stored.suggestion if kept is stored.ask.input else None
        return replace(
            stored,
            ask=replace(stored.ask, input=kept),
            size=input_size(kept),
            suggestion=suggestion,
        )

    def forget_old(self, now: float) -> list[StoredRequest]:
        """Forget and return ended requests beyond the limits of time, number and bytes."""
        forgotten = []
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if (
                len(self._ended) <= HISTORY_REQUESTS
                and self._ended_bytes <= HISTORY_BYTES
                and now - oldest.decided_at <= HISTORY_SECONDS
            ):
                break
            self._forget(oldest.id)
            forgotten.append(oldest)
        return forgotten

    def _forget(self, request_id: str) -> None:
        """Remove a request with its events and its part of the counts."""
        stored = self._store.pop(request_id)
        self._count(stored, -1)
        self._pending.pop(request_id, None)
        self._ended.pop(request_id, None)
        for number in (stored.opened, stored.closed):
            place = bisect_left(self._events, (number, request_id))
            if self._events[place : place + 1] == [(number, request_id)]:
                del self._events[place]

    def _count(self, stored: StoredRequest, step: int) -> None:
        """Count `stored` once more, or once less with a `step` of -1."""
        if stored.status != "pending":
            self._ended_bytes += step * stored.size
            return
        self._open_bytes += step * stored.size
        caller = stored.ask.caller
        self._open_of_caller[caller] += step
        if not self._open_of_caller[caller]:
            del self._open_of_caller[caller]

    def _close(
        self, stored: StoredRequest, event: RequestEvent, message: str, now: float
    ) -> StoredRequest:
        ended = replace(
            stored,
            status=PERMISSION_REQUEST.advance(stored.status, event),
            closed=self._next_number(now),
            decided_at=now,
            message=message,
        )
        # The text of the file and the presentation were for the people who decide. Kept in the
        # history, they would fill Redis.
        return replace(ended, ask=replace(stored.ask, file_before=None), presentation=None)

    def _next_number(self, now: float) -> int:
        # Milliseconds, unless the clock went back or two events share one: the numbers must grow in
        # any case.
        return max(self._last_number + 1, int(now * 1000))


def what_happened(stored: StoredRequest) -> str:
    """Return a sentence for the author of a late answer."""
    match stored.status:
        case "expired":
            return "Too late: nobody answered in time, and the tool was told no."
        case "cancelled":
            return "Too late: whoever asked is gone, and the request was withdrawn."
        case "undecided":
            return "Too late: the agent asks in its own terminal now."
        case _ if stored.decided_by in BY_WHAT_IS_WRITTEN:
            return f"A rule {stored.status} this already."
        case _:
            return (
                f"{stored.decided_by or 'Somebody'} {stored.status} this already; the first "
                "answer counts."
            )
