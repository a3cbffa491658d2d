"""The list of requests that wait in front of a provider, for people: of this gateway, and of all.

Each gateway writes its list to Redis while it is not empty, under a key that ends by itself, so a
gateway that dies leaves nothing behind. A gateway in which nobody waits does nothing. Without Redis
a gateway shows its own list.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.waiting.wall_clock import WallClock
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.runtime.background import end_task
from shared.runtime.errors import BusUnavailable, ClientError

WAITING_PREFIX = "waiting:"
SHARE_SECONDS = 1.0
TTL_SECONDS = 5.0
MOST_SHARED = 200  # of one gateway, those that wait longest


@dataclass(slots=True)
class WaitingEntry:
    """A request waiting for a `reset` or for a `place`. `limit` names the limit to be reset,
    `until` is the time of the reset. Times are in UTC seconds.
    """

    request_id: str
    provider: str
    model: str
    caller: str
    client_program: str
    session_id: str
    priority: str
    since: float
    waits_for: Literal["reset", "place"]
    limit: str = ""
    until: float | None = None


class WaitingList:
    """The waiting requests of a gateway, shared while open."""

    def __init__(self, bus: Bus, clock: WallClock) -> None:
        self._bus = bus
        self._clock = clock
        # A name of its own for each list: during a reload a process has two.
        self._key = f"{WAITING_PREFIX}{secrets.token_hex(8)}"
        self._waiting: dict[int, WaitingEntry] = {}
        self._numbers = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WaitingList:
        self._task = asyncio.create_task(self._keep_sharing())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        if self._wake.is_set():
            with contextlib.suppress(BusUnavailable):
                await self._bus.delete(self._key)

    @contextlib.contextmanager
    def shown(self, waiting: WaitingEntry) -> Iterator[None]:
        """Keep `waiting` in the list for the time of the block."""
        self._numbers += 1
        number = self._numbers
        self._waiting[number] = waiting
        self._wake.set()
        try:
            yield
        finally:
            del self._waiting[number]

    def own(self) -> list[WaitingEntry]:
        """Return the requests waiting in this gateway, in the order of arrival."""
        return list(self._waiting.values())

    async def all(self) -> list[WaitingEntry]:
        """Return the requests waiting in all gateways, in the order of arrival; while Redis is
        away, the requests of this gateway alone.
        """
        found = self.own()
        with contextlib.suppress(BusUnavailable):
            for key, stored in (await self._bus.scan(WAITING_PREFIX)).items():
                if key != self._key:
                    with contextlib.suppress(ClientError):  # of another version
                        found += decode_payload(list[WaitingEntry], stored)
        return sorted(found, key=lambda each: each.since)

    async def _keep_sharing(self) -> None:
        while True:
            await self._wake.wait()
            with contextlib.suppress(BusUnavailable):
                await self.share()
            await self._clock.pause(SHARE_SECONDS)

    async def share(self) -> None:
        """Write the list to Redis; an empty list is removed there. Raises BusUnavailable."""
        if self._waiting:
            shared = encode_payload(self.own()[:MOST_SHARED])
            await self._bus.put(self._key, shared, ttl=TTL_SECONDS)
            return
        # Cleared before the wait: a request that comes meanwhile wakes the task again.
        self._wake.clear()
        await self._bus.delete(self._key)
