"""The front of the providers of one gateway: its holds, its queues and its list, put together.

The limit of requests at once is the owner's for all gateways of a stack. They share it out in equal
parts, so that no request waits for Redis; each gateway has one place at least.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.providers import Provider
from gateway.waiting.holds import HoldBounds, Holds
from gateway.waiting.provider_queue import ProviderQueue
from gateway.waiting.queued_provider import QueuedProvider
from gateway.waiting.reset_rooms import ResetRooms
from gateway.waiting.waiting_list import WaitingList
from gateway.waiting.wall_clock import SystemClock, WallClock
from shared.accounts.quota import Quota
from shared.accounts.token_limits import subscription_of
from shared.bus import Bus
from shared.runtime.metrics import WaitingMetrics
from shared.settings.tree import QueueSettings, Settings

HELD_SHARE = 4  # held bodies take at most this part of SERVER__MAX_BODIES_BYTES: a quarter


class Front:
    """The holds and queues in front of the providers. `queues` has a queue for every provider with
    a limit on requests at once.
    """

    def __init__(
        self,
        holds: Holds,
        queues: dict[str, ProviderQueue],
        waiting: WaitingList,
        metrics: WaitingMetrics,
        clock: WallClock,
    ) -> None:
        self.waiting = waiting
        self._holds = holds
        self._queues = queues
        self._metrics = metrics
        self._clock = clock

    def of(self, provider: Provider) -> QueuedProvider:
        """Return `provider` behind the front."""
        queue = self._queues.get(provider.name)
        return QueuedProvider(
            provider, self._holds, queue, self.waiting, self._metrics, self._clock
        )


@asynccontextmanager
async def open_front(
    settings: Settings,
    bus: Bus,
    metrics: WaitingMetrics,
    quota_of: Callable[[str], Quota | None],
    is_valid: Callable[[str], bool],
) -> AsyncIterator[Front]:
    """Open the front of a gateway. `quota_of` returns the quota of a subscription, and `is_valid`
    is False for the digest of an ended token.
    """
    clock = SystemClock()
    bounds = HoldBounds(
        settings.quota.longest_hold_seconds,
        settings.quota.max_held,
        settings.server.max_bodies_bytes // HELD_SHARE,
    )
    async with WaitingList(bus, clock) as waiting, ResetRooms(clock) as rooms:
        holds = Holds(
            bounds,
            rooms,
            waiting,
            metrics,
            clock,
            quota_of=lambda provider: quota_of(subscription_of(provider)),
            is_valid=is_valid,
        )
        queues = queues_of(settings.queue, settings.server.workers)
        yield Front(holds, queues, waiting, metrics, clock)


def queues_of(settings: QueueSettings, gateways: int) -> dict[str, ProviderQueue]:
    """Return the queues of the providers with a limit on requests at once, for one of several
    gateways.
    """
    limits = {"claude": settings.claude_at_once, "codex": settings.codex_at_once}
    return {
        name: ProviderQueue(
            name,
            at_once=max(1, limit // gateways),
            max_waiting=settings.max_waiting,
            longest_seconds=settings.longest_wait_seconds,
        )
        for name, limit in limits.items()
        if limit
    }
