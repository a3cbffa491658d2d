"""The clock of waiting requests: the time of day, and pauses.

Resets are times of day. The event loop's own clock stands still while a machine sleeps, so a long
wait is made of pauses of at most LOOK_SECONDS, with a look at the time of day after each.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

LOOK_SECONDS = 15.0  # the longest pause


class WallClock(Protocol):
    """The two functions that waiting needs of a clock."""

    def now(self) -> float:
        """Return the time in UTC seconds since 1970."""

    async def pause(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
