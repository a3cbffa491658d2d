"""The changes of permission requests: checked, stored, and only then announced.

Invariants: one change at a time, so of two answers to one request one is first. Every change is in
Redis before anybody hears of it, so what people and agents have heard stays true through a restart.
A change outlives the caller that began it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from permission_service.requests import PermissionRequests, StoredRequest
from permission_service.store import RequestStore, insist
from permission_service.views import audit
from shared.bus import Bus
from shared.bus.channels import PERMISSION_AUDIT
from shared.runtime.errors import BusUnavailable
from shared.runtime.log import get_log
from shared.runtime.metrics import PermissionMetrics


class Changes:
    """The only writer of the requests: `requests` in memory, `stored_requests` in Redis."""

    def __init__(
        self,
        requests: PermissionRequests,
        stored_requests: RequestStore,
        bus: Bus,
        metrics: PermissionMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._requests = requests
        self._store = stored_requests
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._news = asyncio.Event()
        self._ends: dict[str, asyncio.Event] = {}  # of the requests with waiting askers
        self._running: set[asyncio.Task[StoredRequest]] = set()

    @property
    def news(self) -> asyncio.Event:
        """Return the event that the next change sets.

        Take the event before a look at the requests: a change that comes after the look then sets
        the event in hand.
        """
        return self._news

    def wake(self) -> None:
        """Wake all waiting readers of news."""
        # A new event for the next change: those who wait wake once, and none of them can clear the
        # event under another.
        self._news.set()
        self._news = asyncio.Event()

    async def make(
        self,
        step: Callable[[], StoredRequest],
        *,
        first: Callable[[], Awaitable[None]] | None = None,
        patient: bool = True,
    ) -> StoredRequest:
        """Check, store and report `step`, and return the request as changed. A cancelled caller
        does not stop the step.

        `first` is awaited after the check and before the storing. A `patient` change tries again
        while Redis is away. Raises BusUnavailable, and the errors of `step` and `first`.
        """
        # A task of its own, kept in `_running`: a caller that leaves in the middle must not leave a
        # change that is stored but told to nobody.
        task = asyncio.create_task(self._make(step, first, patient))
        self._running.add(task)
        task.add_done_callback(self._made)
        return await asyncio.shield(task)

    async def withdraw(self, request_id: str) -> StoredRequest:
        """Cancel a pending request. Raises NotFound, BusUnavailable."""
        return await self.make(lambda: self._end(request_id, self._requests.withdraw))

    async def until_settled(self, request_id: str) -> StoredRequest:
        """Wait for an answer, or the end of the time for an answer, and return the ended request.

        Raises BusUnavailable when the end of the time cannot be stored.
        """
        while (stored := self._requests.find(request_id)).status == "pending":
            # The event is taken before the wait, and no await stands between it and the look at the
            # status: an end that comes later sets just this event.
            ended = self._ends.setdefault(request_id, asyncio.Event())
            now = self._clock()
            if stored.is_overdue(now):
                # The end of the time is a change like any other. A person's answer may be ahead of
                # it in the queue, and then `_end` leaves that answer as it is.
                await self.make(lambda: self._end(request_id, self._requests.expire))
                continue
            try:
                async with asyncio.timeout(
                    None if stored.expires_at is None else stored.expires_at - now
                ):
                    await ended.wait()
            except TimeoutError:
                continue
        return stored

    def cancel_unstored(self, request_id: str) -> None:
        """Cancel a pending request in memory alone, because Redis was away for too long and the
        asker has been told no.
        """
        if self._requests.knows(request_id):
            self._announce(self._requests.shorten(self._end(request_id, self._requests.withdraw)))

    async def conclude(self, stored: StoredRequest) -> None:
        """Log the end of `stored`, and keep an excerpt of `stored`."""
        await self.record(stored)
        await self.shorten(stored)

    async def shorten(self, stored: StoredRequest) -> None:
        """Store an excerpt of an ended request if the excerpt is shorter than the input."""
        short = self._requests.shorten(stored)
        if short.size < stored.size:
            with contextlib.suppress(BusUnavailable):
                await self._store.save(short, now=self._clock())
            self._requests.keep(short)

    async def forget_old(self) -> None:
        """Forget ended requests beyond the limits of the history."""
        for stored in self._requests.forget_old(self._clock()):
            with contextlib.suppress(BusUnavailable):
                await self._store.delete(stored)

    async def announce(self, step: Callable[[int, float], None]) -> None:
        """Call `step`, to add an event without a request, with the event's number and time (UTC
        seconds), between two changes.
        """
        # A change takes the number of its event before the event is kept. Taken beside a change,
        # the same number would be given twice, and one of the events reach no watcher.
        async with self._one_at_a_time:
            now = self._clock()
            step(self._requests.take_number(now), now)
            self.wake()

    async def hand_back(self, stored: StoredRequest, message: str) -> None:
        """Leave a pending request to the agent's own terminal, because of `message`. Raises
        BusUnavailable.
        """
        await self.make(
            lambda: self._end(
                stored.id, lambda found, now: self._requests.hand_back(found, message, now)
            )
        )

    def count(self, stored: StoredRequest) -> None:
        """Count an ended request that was never open."""
        self._metrics.decided.labels(stored.status).inc()

    async def record(self, stored: StoredRequest, *, quiet: bool = False) -> None:
        """Write the audit record of `stored`: at least once for every request, before the answer
        leaves.
        """
        record = audit(stored)
        say = get_log().debug if quiet else get_log().info
        say(
            "permission_settled",
            request_id=stored.id,
            tool=record.tool_name,
            caller=record.caller,
            outcome=record.outcome,
            by=record.decided_by,
            rule=record.rule,
            waited_ms=round(record.waited_ms),
        )
        await insist(lambda: self._bus.publish(PERMISSION_AUDIT, record))

    async def _make(
        self,
        step: Callable[[], StoredRequest],
        first: Callable[[], Awaitable[None]] | None,
        patient: bool,
    ) -> StoredRequest:
        # One change at a time: the check in `step` holds until the result is in force, so of two
        # answers to one request the second meets Conflict.
        async with self._one_at_a_time:
            stored = step()
            # The rule of an answer is stored before the answer. The reverse order could settle the
            # request and lose the rule.
            if first is not None:
                await first()
            # A person can press the button again, so a person's answer fails at once when Redis is
            # away. Any other change has nobody to try again.
            if patient:
                await insist(lambda: self._store.save(stored, now=self._clock()))
            else:
                await self._store.save(stored, now=self._clock())
            # Stored first, told second: what people and agents have heard stays true through a
            # restart.
            self._announce(stored)
            return stored

    def _made(self, task: asyncio.Task[StoredRequest]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left

    def _announce(self, stored: StoredRequest) -> None:
        if self._requests.keep(stored):
            self._metrics.decided.labels(stored.status).inc()
        self._metrics.pending.set(self._requests.open_count)
        # Only those who wait for this request: to wake the askers of all open requests would cost
        # each change the more, the more are open.
        if stored.status != "pending" and (ended := self._ends.pop(stored.id, None)):
            ended.set()
        self.wake()

    def _end(
        self, request_id: str, end: Callable[[StoredRequest, float], StoredRequest]
    ) -> StoredRequest:
        """Return the request ended by `end`; an already ended request stays unchanged."""
        stored = self._requests.find(request_id)
        return end(stored, self._clock()) if stored.status == "pending" else stored
