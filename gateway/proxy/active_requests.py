"""Active requests, each interruptible with a typed error wherever it waits.

One clock watches all requests: it pings silent streams, ends requests whose provider or client has
stalled, and ends all requests at shutdown. So no timer is set per event, and every way to end early
is the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType

from gateway.proxy.states import ACTIVE_REQUEST, SENDING, ActiveEvent, ActiveState
from gateway.server.asgi import Receive, Send
from shared.runtime.errors import (
    Busy,
    CallerGone,
    CCProxyError,
    ClientTimeout,
    Stopping,
    UpstreamTimeout,
)

# The clock's period. A leaving client is noticed within two periods and one turn of the event loop;
# the promise is a second.
LOOK_SECONDS = 0.25
# The default text about a silence, in the error after a timeout.
PROVIDER_SILENT = "The provider has sent nothing"
NO_WHOLE_EVENT = "The provider has sent no whole event"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of a request, in seconds.

    `body`: between two pieces of the body; `first_byte`: until the provider's first byte, in a
    stream until the first whole event; `idle`: between two bytes from then on; `ping`: the silence
    towards the client before a ping.
    """

    body: float = 30
    first_byte: float = 600
    idle: float = 300
    ping: float = 15


# The clock measures one silence at a time; the state says whose silence it is:
#
#     reading       the client sends the body: a silence is the client's (ClientTimeout)
#     sending ...   the client takes a piece of the answer: also the client's (CallerGone)
#     any other     the provider has the request: a silence is the provider's (UpstreamTimeout)
#
# `touch` ends a silence. `interrupt` notes a reason, and cancels the task only inside
# `with active:`, where `__exit__` turns the cancellation into the reason. Outside, the reason waits
# for the next `with`: code that cleans up is never cut short.
class ActiveRequest:
    """One active request. `interrupt` makes the code inside `with active:` raise the error instead
    of waiting on.

    Two clocks run: `received` is the time of the last bytes that count as a sign of life, against
    which `limit` is measured; `sent` is the time of the last bytes for the client, after which a
    ping becomes due. A provider that sends half an event is alive, and its client gets pings.
    """

    __slots__ = (
        "_active_requests",
        "_endings",
        "_inside",
        "_pieces",
        "_ping",
        "_ping_task",
        "_task",
        "_watch",
        "held",
        "is_held",
        "limit",
        "reason",
        "receive",
        "received",
        "sent",
        "silence",
        "state",
    )

    def __init__(self, limit: float, active_requests: ActiveRequests) -> None:
        self._active_requests = active_requests
        self._task = asyncio.current_task()
        self.held = 0  # bytes of its body
        self.reason: CCProxyError | None = None
        self.limit = limit
        self.received = self.sent = active_requests.now()
        self.state: ActiveState = ACTIVE_REQUEST.beginning
        self.silence = PROVIDER_SILENT
        self._ping: Callable[[], Coroutine[None, None, None]] | None = None
        self.receive: Receive | None = None
        self._inside = False
        self._pieces = 0  # on their way to the client: a ping of a live response and a piece
        self._watch: asyncio.Task[None] | None = None
        self._ping_task: asyncio.Task[None] | None = None
        self.is_held = False  # until a limit is reset; such a request ends first at a stop
        self._endings: list[Callable[[], None]] | None = None

    def advance(self, event: ActiveEvent) -> None:
        self.state = ACTIVE_REQUEST.advance(self.state, event)

    @property
    def is_sending(self) -> bool:
        return self.state in SENDING

    def touch(self) -> None:
        """Note a sign of life of the side that is waited for."""
        self.received = self._active_requests.now()

    def note_answer(self, *, is_begun: bool = True) -> None:
        """Note bytes of the provider's answer. From the beginning of an answer the idle limit
        counts; bytes before that, as half of a stream's first event, leave the first-byte limit
        running.
        """
        self.advance("event" if is_begun else "bytes")
        if is_begun:
            self.limit = self._active_requests.timeouts.idle
            self.touch()

    async def send_piece(self, send: Send, piece: bytes) -> None:
        """Send a piece of the answer; meanwhile the silence of the client is measured."""
        now = self._active_requests.now
        self.sent = now()
        # The first of several pieces begins the sending, and the last one ends it.
        if not self._pieces:
            self.advance("send")
        self._pieces += 1
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._pieces -= 1
        if not self._pieces:
            self.advance("sent")
        self.sent = now()
        # The provider was held back as long as the client did not read.
        if self.state != "starting":
            self.received = self.sent

    def receive_bytes(self, count: int) -> None:
        """Note that `count` more bytes of the body are here, and held until the end. Raises Busy
        past the limit.
        """
        self.touch()
        # Counted before the check: `close` gives back all of `held`, also of a refused body.
        self.held += count
        self._active_requests.hold(count)

    def begin_reading(self, limit: float) -> None:
        """Wait for the client, for the next piece of a body that is passed on during the upload."""
        self.advance("read")
        self.limit = limit
        self.touch()

    def begin_writing(self, limit: float) -> None:
        """Wait for the provider to take the current piece of the body."""
        self.advance("write")
        self.limit = limit
        self.touch()

    def begin_waiting(self, limit: float, receive: Receive | None = None) -> None:
        """Wait for the answer after the end of the body. From now on the client may leave, which
        `receive` reports; None: nobody watches that here.
        """
        self.advance("wait")
        self.receive = receive
        self.limit = limit
        self.touch()

    @contextlib.contextmanager
    def queued_here(self) -> Iterator[None]:
        """Suspend the time limit of the provider's silence for the block: the provider does not
        have the request.
        """
        limit = self.limit
        self.limit = math.inf
        try:
            yield
        finally:
            self.limit = limit
            self.touch()

    @contextlib.contextmanager
    def held_here(self) -> Iterator[None]:
        """Suspend the time limit as `queued_here`, in a request that is held. Raises Stopping while
        no request may be held.
        """
        if not self._active_requests.may_hold:
            raise ended_hold()
        self.is_held = True
        try:
            with self.queued_here():
                yield
        finally:
            self.is_held = False

    def at_end(self, act: Callable[[], None]) -> None:
        """Call `act` when the request is closed."""
        if self._endings is None:
            self._endings = []
        self._endings.append(act)

    def interrupt(self, reason: CCProxyError) -> None:
        """End the request with `reason`; the first reason wins."""
        if self.reason is None:
            self.reason = reason
            if self._inside and self._task is not None:
                self._task.cancel()

    def __enter__(self) -> ActiveRequest:
        """Begin the interruptible code. Raises the reason of an earlier interrupt; an interrupt in
        the block becomes the only exception to handle.
        """
        if self.reason is not None:
            raise self.reason
        self._inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # From here on an interrupt only notes its reason: the task may already be cleaning up.
        self._inside = False
        # A cancellation without a reason is not ours, and passes.
        if kind is asyncio.CancelledError and self.reason is not None and self._task is not None:
            # The cancellation is answered. Without this call an `asyncio.timeout` or a TaskGroup
            # around the block would take the cancellation for its own.
            self._task.uncancel()
            raise self.reason from None

    def watch_client(self) -> None:
        """Interrupt the request when the client leaves. Only the clock calls the method, so that a
        quick request costs no task.
        """
        if self.receive is not None and self._watch is None:
            self._watch = asyncio.create_task(self._await_disconnect(self.receive))

    async def _await_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.interrupt(CallerGone())

    def start_pings(self, ping: Callable[[], Coroutine[None, None, None]]) -> None:
        """Have the clock call `ping` after each silence towards the client."""
        self._ping = ping
        self.sent = self._active_requests.now()

    def stop_pings(self) -> None:
        """End the pings; a ping that has not left yet never leaves."""
        self._ping = None
        if self._ping_task is not None:
            self._ping_task.cancel()

    def ping_now(self) -> None:
        """Send a ping, if pings have started."""
        self.send_ping(self._active_requests.now())

    def send_ping(self, now: float) -> None:
        """Send a ping without waiting: a client that does not read must not hold up the clock."""
        if self._ping is not None and (self._ping_task is None or self._ping_task.done()):
            self.sent = now
            self._ping_task = asyncio.ensure_future(self._ping())

    def release(self) -> None:
        self.stop_pings()
        if self._watch is not None:
            self._watch.cancel()
        for act in self._endings or ():
            act()
        self._endings = None


class ActiveRequests:
    """All active requests of the process, the bytes of all bodies, and the clock that watches the
    requests.
    """

    def __init__(self, timeouts: Timeouts, max_held: int = 256 * 1024 * 1024) -> None:
        """Limit the bodies of all requests together to `max_held` bytes."""
        self.timeouts = timeouts
        self.now = time.monotonic
        self.held = 0
        self.may_hold = True
        self._max_held = max_held
        self._active_requests: set[ActiveRequest] = set()
        self._clock: asyncio.Task[None] | None = None
        self._stopping = False
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._active_requests)

    def open(self) -> ActiveRequest:
        """Return a new active request, to be passed to `close` at its end."""
        active = ActiveRequest(self.timeouts.body, self)
        if self._stopping:
            active.reason = Stopping()
        self._active_requests.add(active)
        return active

    def close(self, active: ActiveRequest) -> None:
        self._active_requests.discard(active)
        self.held -= active.held
        active.held = 0
        active.advance("close")
        active.reason = None  # the traceback holds frames, and the frames hold the request
        active.release()
        if self._stopping and not self._active_requests:
            self._idle.set()

    def hold(self, count: int) -> None:
        """Count bytes of a body. Raises Busy once all bodies together are larger than the process
        may hold.
        """
        self.held += count
        if self.held > self._max_held:
            raise Busy(
                "The bodies of all requests being answered are larger than this server may hold "
                "(SERVER__MAX_BODIES_BYTES); try again shortly.",
                headers={"retry-after": "1"},
            )

    def end_holds(self) -> None:
        """End the held requests with a typed error after which clients try again, and hold no more:
        this gateway is stopping, or new settings have taken its place.
        """
        self.may_hold = False
        for active in list(self._active_requests):
            if active.is_held:
                active.interrupt(ended_hold())

    async def stop(self, grace: float) -> None:
        """Refuse new requests, end the held ones, wait `grace` seconds for the open ones, then end
        each with a typed error.
        """
        # From here on a new request fails as soon as its interruptible code begins.
        self._stopping = True
        self.end_holds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                if self._active_requests:
                    await self._idle.wait()
        for active in list(self._active_requests):
            active.interrupt(Stopping())

    async def __aenter__(self) -> ActiveRequests:
        self._clock = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._clock is not None:
            self._clock.cancel()

    async def _tick(self) -> None:
        # With a quarter of the shortest of these limits, no limit is overshot by more than a
        # quarter.
        step = min(
            LOOK_SECONDS,
            self.timeouts.ping / 4,
            self.timeouts.idle / 4,
            self.timeouts.first_byte / 4,
        )
        while True:
            await asyncio.sleep(step)
            for active in list(self._active_requests):
                self._look_at(active, self.now())

    def _look_at(self, active: ActiveRequest, now: float) -> None:
        active.watch_client()
        silence = now - (active.sent if active.is_sending else active.received)
        if silence > active.limit:
            active.interrupt(stalled(active, silence))
        # While a piece is sent, a ping would wait behind the piece. A ping is noted in `sent`, not
        # in `received`: our own bytes must not end the provider's silence, and a provider's bytes
        # that are not passed on must not end ours.
        elif not active.is_sending and now - active.sent > self.timeouts.ping:
            active.send_ping(now)


def ended_hold() -> Stopping:
    return Stopping(
        "This server stops or has new settings, and the request waited for the reset of a limit; "
        "send it again.",
        headers={"retry-after": "1"},
    )


def stopped_reading() -> CallerGone:
    return CallerGone("The client stopped reading.")


def stalled(active: ActiveRequest, seconds: float) -> CCProxyError:
    """Return the error for a request's silence, as caused by the client or the provider."""
    if active.state == "reading":
        return ClientTimeout(f"No more of the request's body came for {seconds:.0f} seconds.")
    if active.is_sending:
        return stopped_reading()
    silence = NO_WHOLE_EVENT if active.state == "starting" else active.silence
    return UpstreamTimeout(f"{silence} for {seconds:.0f} seconds.")
