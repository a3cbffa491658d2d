"""A clock of waiting requests that a test moves."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

SETTLE_TURNS = 50  # of the event loop: more than any chain of tasks in these tests needs


async def settle() -> None:
    """Let every task go on until it waits."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


class FakeClock:
    """A clock that stands still until `advance`."""

    def __init__(self, now: float = 1_796_000_000.0) -> None:
        self.time = now
        self._pauses: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._pauses, (self.time + seconds, next(self._numbers), ended))
        await ended

    async def advance(self, seconds: float) -> None:
        """Move the clock, and end each pause at its time."""
        end = self.time + seconds
        await settle()
        while self._pauses and self._pauses[0][0] <= end:
            at, _, ended = heapq.heappop(self._pauses)
            self.time = max(self.time, at)
            if not ended.done():
                ended.set_result(None)
            await settle()
        self.time = end
