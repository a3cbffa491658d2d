"""Requests held until the limit that refused them is reset, and then sent.

A held request has been refused once, keeps nothing open at its provider, and counts against two
bounds: the number of held requests, and the bytes of their bodies. It ends at once when its client
leaves, when its token ends, and when this gateway stops; nothing is sent then.

A client that streams gets its stream at once, with pings, and an error of later as the stream's
last event. A client that wants a whole reply waits without a byte.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from gateway.providers import Opened, Outgoing
from gateway.providers.headers import note_upstream
from gateway.providers.refusals import parse_refusal_body
from gateway.proxy.active_requests import ActiveRequest
from gateway.server.asgi import Headers
from gateway.server.problems import passed_refusal
from gateway.waiting.hold import Hold
from gateway.waiting.limits_in_force import Outcome, limit_in_force
from gateway.waiting.priorities import Priority
from gateway.waiting.reset_rooms import MARGIN_SECONDS, LimitReset, ResetRooms
from gateway.waiting.waiting_list import WaitingEntry, WaitingList
from gateway.waiting.wall_clock import WallClock
from shared.accounts.quota import Quota
from shared.formats.registry import FORMATS, ProviderFormat
from shared.runtime.errors import CCProxyError, NotAuthorized
from shared.runtime.exact_json import dump_json
from shared.runtime.log import get_log
from shared.runtime.metrics import WaitingMetrics
from shared.runtime.times import iso_time, minute_in_utc

SSE = (b"content-type", b"text/event-stream; charset=utf-8")
HELD_UNTIL_HEADER = b"x-ccproxy-held-until"
NOT_HELD_HEADER = b"x-ccproxy-not-held"
FIRST_RETRY_SECONDS = 2.0  # after a reset that was none; doubled each time
LONGEST_RETRY_SECONDS = 300.0

Sending = Callable[[Outgoing], Awaitable[Opened]]


@dataclass(frozen=True, slots=True)
class HoldBounds:
    """The bounds of a gateway: the longest hold, the most held requests, and the most bytes of held
    bodies.
    """

    longest_seconds: float
    max_held: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _Wait:
    """A request to hold, the function that sends the request, and the time of the hold's end."""

    request: Outgoing
    hold: Hold
    active: ActiveRequest
    send: Sending
    priority: Priority
    deadline: float


class Holds:
    """The held requests of a gateway. `quota_of` returns the reported quota of a subscription, and
    `is_valid` is False for the digest of an ended token.
    """

    def __init__(
        self,
        bounds: HoldBounds,
        rooms: ResetRooms,
        waiting: WaitingList,
        metrics: WaitingMetrics,
        clock: WallClock,
        *,
        quota_of: Callable[[str], Quota | None],
        is_valid: Callable[[str], bool],
    ) -> None:
        self._bounds = bounds
        self._rooms = rooms
        self._list = waiting
        self._metrics = metrics
        self._clock = clock
        self._quota_of = quota_of
        self._is_valid = is_valid
        self.held = 0
        self.held_bytes = 0

    async def open(
        self,
        request: Outgoing,
        hold: Hold,
        priority: Priority,
        send: Sending,
        speaks: ProviderFormat,
    ) -> Opened:
        """Send `request`; if a limit with a reset refuses it, hold it and send it again.

        Returns or raises the refusal of a request that cannot be held, with a header that says why.
        """
        active = request.active
        assert active is not None
        longest = min(hold.seconds, self._bounds.longest_seconds)
        wait = _Wait(request, hold, active, send, priority, self._clock.now() + longest)
        outcome = await self._try(wait)
        reset = await self._limit(wait, outcome)
        if reset is None:
            return delivered(outcome)
        if obstacle := self._obstacle(wait, reset):
            self._metrics.ended(request.record.provider, "refused")
            return delivered(with_reason(outcome, obstacle))
        await dropped(outcome)
        get_log().info(
            "request_held",
            request_id=request.record.request_id,
            limit=reset.limit,
            until=iso_time(reset.at),
        )
        if not request.record.streaming:
            return await self._wait_and_send(wait, reset)
        return HeldStream(
            lambda: self._wait_and_send(wait, reset), wait.active, request, speaks
        ).opened(reset)

    async def _try(self, wait: _Wait) -> Outcome:
        """Return the answer to the request, or the error in place of an answer."""
        try:
            await wait.hold.admit()
            return await wait.send(wait.request)
        except CCProxyError as error:
            return error

    async def _limit(self, wait: _Wait, outcome: Outcome) -> LimitReset | None:
        quota = self._quota_of(wait.request.record.provider)
        return await limit_in_force(wait.request, outcome, quota, self._clock.now())

    def _obstacle(self, wait: _Wait, reset: LimitReset) -> str:
        """Return the reason for not holding a request; an empty text without a reason."""
        if reset.at + MARGIN_SECONDS > wait.deadline:
            return f"{reset.limit} is reset at {minute_in_utc(reset.at)}, after the longest hold"
        if self.held >= self._bounds.max_held:
            return f"{self.held} requests are held already (QUOTA__MAX_HELD)"
        if self.held_bytes + wait.active.held > self._bounds.max_bytes:
            return "the bodies of the held requests are too large together"
        return ""

    async def _wait_and_send(self, wait: _Wait, reset: LimitReset) -> Opened:
        """Hold the request until `reset`, and again after every further refusal by a limit; return
        the answer. Raises NotAuthorized when the token has ended meanwhile.
        """
        provider = wait.request.record.provider
        outcome_word = "ended"
        pause = FIRST_RETRY_SECONDS
        try:
            while True:
                await self._wait(wait, reset)
                caller = wait.request.caller
                if caller is not None and not self._is_valid(caller.digest):
                    raise NotAuthorized("The token of this request has ended while it was held.")
                outcome = await self._try(wait)
                later = await self._limit(wait, outcome)
                if later is None:
                    outcome_word = "sent"
                    return delivered(outcome)
                # A reset in the past: the clocks differ, or the provider was late.
                reset = replace(later, at=max(later.at, self._clock.now() + pause))
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
                if reset.at + MARGIN_SECONDS > wait.deadline:
                    outcome_word = "refused"
                    return delivered(with_reason(outcome, self._obstacle(wait, reset)))
                await dropped(outcome)
        finally:
            self._metrics.ended(provider, outcome_word)

    async def _wait(self, wait: _Wait, reset: LimitReset) -> None:
        """Wait for `reset`, shown to people and counted against the bounds."""
        request = wait.request
        record = request.record
        began = self._clock.now()
        shown = shown_as(request, wait.priority, since=began, waits_for="reset")
        shown.limit = reset.limit
        shown.until = reset.at
        # Only the bytes are kept: a parsed body takes several times as much.
        request.pack()
        with (
            wait.active.held_here(),
            self._counted(record.provider, wait.active.held),
            self._list.shown(shown),
        ):
            await self._rooms.wait(reset, wait.priority, is_direct=record.provider != "sdk")
        request.unpack()
        note_wait(request, self._clock.now() - began)

    @contextlib.contextmanager
    def _counted(self, provider: str, size: int) -> Iterator[None]:
        self.held += 1
        self.held_bytes += size
        try:
            with self._metrics.held(provider).track_inprogress():
                yield
        finally:
            self.held -= 1
            self.held_bytes -= size


class HeldStream:
    """The stream of a held request: no event before the request was sent, then the provider's.

    `send_later` waits, sends, and returns the provider's answer.
    """

    def __init__(
        self,
        send_later: Callable[[], Awaitable[Opened]],
        active: ActiveRequest,
        request: Outgoing,
        speaks: ProviderFormat,
    ) -> None:
        self._send_later = send_later
        self._active = active
        self._request = request
        self._speaks = speaks
        self._opened: Opened | None = None

    def opened(self, reset: LimitReset) -> Opened:
        """Return the stream as an answer already begun."""
        headers: Headers = [SSE, (HELD_UNTIL_HEADER, iso_time(reset.at).encode())]
        return Opened(200, headers, self._chunks(), self._aclose)

    async def _chunks(self) -> AsyncIterator[bytes]:
        # The client's stream begins now, and not with the silence before a usual ping.
        self._active.ping_now()
        opened = self._opened = await self._send_later()
        note_upstream(self._request.record, opened.headers)
        if opened.status >= 400:
            raise await self._refusal(opened)
        async for chunk in opened.chunks:
            yield chunk

    async def _refusal(self, opened: Opened) -> CCProxyError:
        """Return a refusal as an error for the stream's last event, in the client's format."""
        record = self._request.record
        body = await opened.read()
        fail = self._speaks.read_error(parse_refusal_body(body), opened.status)
        client = FORMATS.get(record.client_format)
        if client is not None and client is not self._speaks:
            body = dump_json(client.write_error(fail, request_id=record.request_id))
        return passed_refusal(fail, body, opened.headers)

    async def _aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()


def shown_as(
    request: Outgoing, priority: Priority, *, since: float, waits_for: str
) -> WaitingEntry:
    """Return `request` as an entry of the list of waiting requests."""
    record = request.record
    return WaitingEntry(
        record.request_id,
        record.provider,
        record.model,
        record.caller,
        record.client_program,
        record.session_id,
        priority.label,
        since,
        "reset" if waits_for == "reset" else "place",
    )


def note_wait(request: Outgoing, seconds: float) -> None:
    """Add a wait in front of the provider to the record's time in the queue."""
    request.record.queue_ms = (request.record.queue_ms or 0.0) + 1000 * seconds


def delivered(outcome: Outcome) -> Opened:
    """Return an answer, or raise the error in place of an answer."""
    if isinstance(outcome, CCProxyError):
        raise outcome
    return outcome


def with_reason(outcome: Outcome, reason: str) -> Outcome:
    """Return a refusal with the reason for not holding the request in a header."""
    if isinstance(outcome, CCProxyError):
        outcome.headers = outcome.headers | {NOT_HELD_HEADER.decode(): reason}
    else:
        outcome.headers = [*outcome.headers, (NOT_HELD_HEADER, reason.encode())]
    return outcome


async def dropped(outcome: Outcome) -> None:
    """Close an undelivered refusal."""
    if isinstance(outcome, Opened):
        await outcome.aclose()
