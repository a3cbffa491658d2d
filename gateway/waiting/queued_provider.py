"""A provider with everything in front of it that a request may wait for: a reset, and a place.

The order is hold, queue, provider: a request that is held has no place, and takes one when its
limit has been reset. Without a queue and without a wish to be held a request goes straight on.
"""

from __future__ import annotations

from gateway.providers import Opened, Outgoing, Provider
from gateway.proxy.catalogue import Catalogue
from gateway.waiting.holds import Holds, note_wait, shown_as
from gateway.waiting.priorities import Priority, headers_priority
from gateway.waiting.provider_queue import Place, ProviderQueue
from gateway.waiting.waiting_list import WaitingList
from gateway.waiting.wall_clock import WallClock
from shared.formats.registry import ProviderFormat
from shared.runtime.errors import Busy
from shared.runtime.metrics import WaitingMetrics


class QueuedProvider:
    """The `provider` behind `holds` and, if requests at once are limited, behind `queue`."""

    def __init__(
        self,
        provider: Provider,
        holds: Holds,
        queue: ProviderQueue | None,
        waiting: WaitingList,
        metrics: WaitingMetrics,
        clock: WallClock,
    ) -> None:
        self.name = provider.name
        self.catalogue: Catalogue = provider.catalogue
        self._provider = provider
        self._holds = holds
        self._queue = queue
        self._list = waiting
        self._metrics = metrics
        self._clock = clock

    @property
    def speaks(self) -> ProviderFormat:
        return self._provider.speaks

    async def open(self, request: Outgoing) -> Opened:
        """Send the request when its turn has come. Raises Busy for a request without a place, and
        the errors of the provider.
        """
        if request.hold is None:
            # Nearly every request: without a queue it costs no further call.
            if self._queue is None:
                return await self._provider.open(request)
            return await self._send(request)
        priority = priority_of(request)
        return await self._holds.open(request, request.hold, priority, self._send, self.speaks)

    async def _send(self, request: Outgoing) -> Opened:
        queue = self._queue
        if queue is None:
            return await self._provider.open(request)
        place = await self._take(queue, request)
        if request.active is not None:
            # Whatever happens to the answer, the end of the request frees the place.
            request.active.at_end(place.leave)
        is_open = False
        try:
            opened = await self._provider.open(request)
            is_open = True
        finally:
            if not is_open:
                place.leave()
        return with_place(opened, place)

    async def _take(self, queue: ProviderQueue, request: Outgoing) -> Place:
        """Return a place for `request`; a wait is shown to people and measured. Raises Busy."""
        priority = priority_of(request)
        active = request.active
        if queue.has_room or active is None:
            return await queue.take(priority)
        began = self._clock.now()
        shown = shown_as(request, priority, since=began, waits_for="place")
        try:
            with (
                active.queued_here(),
                self._metrics.queued(self.name).track_inprogress(),
                self._list.shown(shown),
            ):
                place = await queue.take(priority)
        except Busy:
            self._metrics.refused(self.name)
            raise
        waited = self._clock.now() - began
        self._metrics.waited(self.name, waited)
        note_wait(request, waited)
        return place


def priority_of(request: Outgoing) -> Priority:
    """Return the priority of `request` by token and headers. Raises ClientError."""
    of_token = request.caller.priority if request.caller else ""
    return headers_priority(request.client_headers or {}, of_token)


def with_place(opened: Opened, place: Place) -> Opened:
    """Return the answer; its close gives the place on."""
    close = opened.aclose

    async def close_and_leave() -> None:
        try:
            await close()
        finally:
            place.leave()

    opened.aclose = close_and_leave
    return opened
