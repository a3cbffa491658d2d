"""The queue in front of one provider: at most so many requests at the provider at once.

Served first is a person's request, then an ordinary one, then background work; within a priority,
the one that came first. Every FAIR_EVERY-th free place goes to the request that has waited longest,
whatever its priority, so nobody waits for ever. A place is handed from the request that ends to the
next one directly: the number of taken places never exceeds the limit, and none is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gateway.waiting.priorities import Priority
from shared.runtime.errors import Busy

FAIR_EVERY = 4
RETRY_AFTER = "5"  # seconds, for a request that got no place


@dataclass(eq=False, slots=True)
class _Waiter:
    """A request in the queue. `number` is the order of arrival; `turn` ends with a place, or with
    the error that ends the wait.
    """

    priority: Priority
    number: int
    turn: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Place:
    """A place at a provider. `leave` gives the place on, once."""

    __slots__ = ("_queue",)

    def __init__(self, queue: ProviderQueue) -> None:
        self._queue: ProviderQueue | None = queue

    def leave(self) -> None:
        if self._queue is not None:
            queue, self._queue = self._queue, None
            queue.hand_on()


class ProviderQueue:
    """The places at the provider `name`, and the requests waiting for a place.

    `at_once` is the number of places, `max_waiting` the most requests in the queue, and
    `longest_seconds` the longest wait.
    """

    def __init__(
        self, name: str, *, at_once: int, max_waiting: int, longest_seconds: float
    ) -> None:
        self.name = name
        self.at_once = at_once
        self.taken = 0
        self._max_waiting = max_waiting
        self._longest_seconds = longest_seconds
        self._waiting: dict[Priority, deque[_Waiter]] = {each: deque() for each in Priority}
        self._arrivals = 0
        self._handed = 0

    @property
    def waiting(self) -> int:
        """Return the number of requests in the queue."""
        return sum(map(len, self._waiting.values()))

    @property
    def has_room(self) -> bool:
        """Return True if the next request gets a place at once."""
        return self.taken < self.at_once

    async def take(self, priority: Priority) -> Place:
        """Return a place, at once or after a wait. Raises Busy for a full queue, or after the
        longest wait.
        """
        # Places are handed on directly, so a place is free only while nobody waits.
        if self.has_room:
            self.taken += 1
            return Place(self)
        self._make_room(priority)
        self._arrivals += 1
        waiter = _Waiter(priority, self._arrivals)
        self._waiting[priority].append(waiter)
        has_place = False
        try:
            async with asyncio.timeout(self._longest_seconds):
                await waiter.turn
            has_place = True
        except TimeoutError:
            raise Busy(
                f"No place was free for {self._longest_seconds:g} seconds among the "
                f"{self.at_once} that this server has at {self.name}; try again shortly.",
                headers={"retry-after": RETRY_AFTER},
            ) from None
        finally:
            if not has_place:
                self._give_up(waiter)
        return Place(self)

    def _give_up(self, waiter: _Waiter) -> None:
        """Take a request without a place out of the queue."""
        turn = waiter.turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            # The place came together with the end of the wait, and goes to the next request.
            self.hand_on()
        elif waiter in self._waiting[waiter.priority]:
            self._waiting[waiter.priority].remove(waiter)

    def _make_room(self, priority: Priority) -> None:
        """Make room for another request: in a full queue the last request of a lower priority is
        refused. Raises Busy if no request has a lower priority.
        """
        if self.waiting < self._max_waiting:
            return
        for lower in sorted(self._waiting, reverse=True):
            if lower > priority and self._waiting[lower]:
                last = self._waiting[lower].pop()
                # One that has just been cancelled leaves its room without being refused.
                if not last.turn.done():
                    last.turn.set_exception(self._full())
                return
        raise self._full()

    def _full(self) -> Busy:
        return Busy(
            f"{self._max_waiting} requests wait for one of the {self.at_once} places that this "
            f"server has at {self.name}; try again shortly.",
            headers={"retry-after": RETRY_AFTER},
        )

    def hand_on(self) -> None:
        """Give the place of an ended request to the next request, or free the place."""
        waiter = self._next()
        if waiter is None:
            self.taken -= 1
        else:
            waiter.turn.set_result(None)

    def _next(self) -> _Waiter | None:
        """Take the next request out of the queue; None from an empty queue."""
        for waiting in self._waiting.values():
            # A request that was cancelled a moment ago has not left the queue yet.
            while waiting and waiting[0].turn.done():
                waiting.popleft()
        fronts = [waiting[0] for waiting in self._waiting.values() if waiting]
        if not fronts:
            return None
        self._handed += 1
        if self._handed % FAIR_EVERY == 0:
            waiter = min(fronts, key=lambda each: each.number)
        else:
            waiter = fronts[0]
        return self._waiting[waiter.priority].popleft()
