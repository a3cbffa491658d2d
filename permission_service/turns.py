"""Turns at the judge: the requests of one caller are judged one after the other.

To judge a request costs milliseconds of the event loop. A caller may send a thousand requests at
once, and judging them in one round of the loop would hold up every other caller, and the heartbeat.

Invariants: at most one request of a caller is judged in a round of the event loop. The requests of
a caller keep their order. Nothing is kept of a caller whose requests have all had their turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CallerTurns:
    """The turns of all callers of a service."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._requests: Counter[str] = Counter()

    @asynccontextmanager
    async def turn_of(self, caller: str) -> AsyncIterator[None]:
        """Wait until the earlier requests of `caller` have left this block, and stay
        inside alone.
        """
        lock = self._locks.setdefault(caller, asyncio.Lock())
        self._requests[caller] += 1
        try:
            async with lock:
                # Without this round the next request of the caller would follow in the same one.
                await asyncio.sleep(0)
                yield
        finally:
            self._requests[caller] -= 1
            if not self._requests[caller]:
                del self._requests[caller]
                del self._locks[caller]

    def __len__(self) -> int:
        """Return the number of callers with a waiting or running request."""
        return len(self._locks)
