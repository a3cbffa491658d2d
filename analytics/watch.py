"""Live events for watchers. A slow watcher loses the oldest events and a notice says so; it delays
nobody.

That a request has begun is told only while somebody looks on: gateways learn of it by a key that
this keeps alive. A new watcher first gets the requests that are known to run, so a page that is
loaded again still shows them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Protocol

from shared.bus import Delivery
from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import WATCHED_KEY
from shared.runtime.errors import BusUnavailable

WAITING_EVENTS = 500
TELL_SECONDS = 1.0
WATCHED_SECONDS = 5.0
MOST_RUNNING = 1000  # a start whose end was lost with its gateway makes room for newer ones

Event = dict[str, Any]


class Keys(Protocol):
    """The only method of the bus used by this module."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...


class Watchers:
    """The watchers of requests. `show` is called once with every record or event; `serve` sends the
    records and events to a watcher until the watcher leaves.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._queues: set[asyncio.Queue[AccessRecord | Event]] = set()
        self._missed: dict[asyncio.Queue[AccessRecord | Event], int] = {}
        self._running: dict[str, Event] = {}

    def show(self, seen: Iterable[AccessRecord | Event]) -> None:
        seen = list(seen)
        self._note_running(seen)
        if not self._queues:
            return
        for each in seen:
            for queue in self._queues:
                if queue.full():
                    # The oldest event makes room: a watcher wants to see what happens now.
                    queue.get_nowait()
                    self._missed[queue] += 1
                queue.put_nowait(each)

    def _note_running(self, seen: Iterable[AccessRecord | Event]) -> None:
        for each in seen:
            if isinstance(each, dict):
                self._running[each["request_id"]] = each
                if len(self._running) > MOST_RUNNING:
                    del self._running[next(iter(self._running))]
            elif self._running:
                self._running.pop(each.request_id, None)

    async def keep_telling(self) -> None:
        """Report the presence of watchers until cancelled."""
        while True:
            if self._queues:
                await self._tell()
            await asyncio.sleep(TELL_SECONDS)

    async def _tell(self) -> None:
        with contextlib.suppress(BusUnavailable):
            await self._keys.put(WATCHED_KEY, b"1", ttl=WATCHED_SECONDS)

    async def serve(self, delivery: Delivery) -> None:
        """Replies are lists of events: {type, timestamp, …}, with the fields of the record. Ends by
        cancellation.
        """
        queue: asyncio.Queue[AccessRecord | Event] = asyncio.Queue(WAITING_EVENTS)
        self._queues.add(queue)
        self._missed[queue] = 0
        try:
            # At once, not with the next round of `keep_telling`: gateways begin to report only when
            # they see the key.
            await self._tell()
            if running := list(self._running.values()):
                await delivery.send(encode_payload(running))
            while True:
                seen = [await queue.get()]
                while not queue.empty():
                    seen.append(queue.get_nowait())
                # No await stands between the emptying of the queue and this, so the count belongs
                # to exactly these events.
                missed = self._missed[queue]
                self._missed[queue] = 0
                events = [event_of(each) for each in seen]
                if missed:
                    events.insert(
                        0,
                        {"type": "overflow", "missed": missed, "timestamp": events[0]["timestamp"]},
                    )
                await delivery.send(encode_payload(events))
        finally:
            self._queues.discard(queue)
            del self._missed[queue]


def event_of(seen: AccessRecord | Event) -> Event:
    if isinstance(seen, dict):
        return seen
    failed = seen.status_code >= 400 or bool(seen.error_kind)
    return {"type": "request_error" if failed else "request_complete", **asdict(seen)}
