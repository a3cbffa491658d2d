"""The requests that wait for the reset of a limit, one room for each limit; let go one by one.

At the reset the turns of `/sdk` go first, then a person's requests, then the others, each in the
order of their arrival. They go with a pause in between: the first ones find out whether the limit
was really reset, and a provider does not meet all of them at once. A room whose limit turns out to
be used up still keeps the rest.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from gateway.waiting.priorities import Priority
from gateway.waiting.wall_clock import LOOK_SECONDS, WallClock
from shared.runtime.background import end_task

MARGIN_SECONDS = 1.0  # after the reset: providers name whole seconds
SPREAD_SECONDS = 0.25  # between two requests of one room and one gateway


@dataclass(frozen=True, slots=True)
class LimitReset:
    """The reset of a limit at the time `at`, in UTC seconds. `limit` names the limit for people,
    the same for every request refused by the limit.
    """

    limit: str
    at: float


@dataclass(order=True, slots=True)
class _Held:
    """A request in a room, in the order of going: `/sdk` first, then priority, then arrival."""

    is_direct: bool
    priority: Priority
    number: int
    turn: asyncio.Future[None] = field(compare=False)


class _Room:
    """The requests waiting for the same limit. The newest report of the reset's time counts."""

    def __init__(self) -> None:
        self.opens_at = 0.0
        self.held: list[_Held] = []
        self.task: asyncio.Task[None] | None = None


class ResetRooms:
    """The rooms of a gateway. `chance` returns a number from 0 to 1, so that several gateways begin
    at different times.
    """

    def __init__(self, clock: WallClock, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._rooms: dict[str, _Room] = {}
        self._arrivals = count()

    async def __aenter__(self) -> ResetRooms:
        return self

    async def __aexit__(self, *_: object) -> None:
        for room in list(self._rooms.values()):
            await end_task(room.task)

    async def wait(self, reset: LimitReset, priority: Priority, *, is_direct: bool) -> None:
        """Return when the limit of `reset` has been reset and the request may go. `is_direct` is
        False for a turn of `/sdk`.
        """
        room = self._rooms.setdefault(reset.limit, _Room())
        room.opens_at = reset.at
        turn = asyncio.get_running_loop().create_future()
        held = _Held(is_direct, priority, next(self._arrivals), turn)
        heapq.heappush(room.held, held)
        if room.task is None:
            room.task = asyncio.create_task(self._let_go(reset.limit, room))
        try:
            await turn
        finally:
            if held in room.held:  # the request was ended
                room.held.remove(held)
                heapq.heapify(room.held)

    async def _let_go(self, limit: str, room: _Room) -> None:
        """Let the requests of a room go after its reset, until the room is empty."""
        # Each gateway begins at another moment, so that they do not come all at once either.
        margin = MARGIN_SECONDS + self._chance() * SPREAD_SECONDS
        try:
            while room.held:
                # Read again after each pause: a request that went may have brought a later reset.
                left = room.opens_at + margin - self._clock.now()
                if left > 0:
                    await self._clock.pause(min(left, LOOK_SECONDS))
                    continue
                held = heapq.heappop(room.held)
                # A request that was ended a moment ago takes no time of the others.
                if not held.turn.done():
                    held.turn.set_result(None)
                    await self._clock.pause(SPREAD_SECONDS)
        finally:
            self._rooms.pop(limit, None)
