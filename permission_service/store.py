"""The storage of the permission requests in Redis.

This service is the only writer, so each request is read once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from permission_service.requests import HISTORY_SECONDS, StoredRequest
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.runtime.errors import BusUnavailable

REQUEST_PREFIX = "permission:request:"
# Redis keeps nothing without an end; the ask itself stays in its channel
FOR_EVER_SECONDS = 30 * 86400.0
RETRY_SECONDS = 0.2
TIMEOUT_SECONDS = 15.0  # longer than the bus keeps a call through an outage of Redis


async def insist(write: Callable[[], Any]) -> None:
    """Call `write`, a write to the bus, until it succeeds. Raises BusUnavailable when Redis stays
    away for TIMEOUT_SECONDS.
    """
    loop = asyncio.get_running_loop()
    late = loop.time() + TIMEOUT_SECONDS
    while True:
        try:
            await write()
        except BusUnavailable:
            # Looked at only after a failure, so that a write that succeeds late still counts.
            if loop.time() > late:
                raise
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def lifetime_of(stored: StoredRequest, now: float) -> float:
    """Return the lifetime of `stored` in Redis, in seconds."""
    # The key outlives the request by the time of the history, so that a restart finds the decision
    # that a lost answer is sent from again.
    if stored.closed:
        return HISTORY_SECONDS
    if stored.expires_at is None:
        return FOR_EVER_SECONDS + HISTORY_SECONDS
    return max(0, stored.expires_at - now) + HISTORY_SECONDS


class RequestStore:
    """The stored requests. The key of a request ends some time after the service has forgotten the
    request.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def load(self) -> list[StoredRequest]:
        """Return all requests, in the order of their last events. Raises BusUnavailable."""
        found = await self._bus.scan(REQUEST_PREFIX)
        stored = [decode_payload(StoredRequest, data) for data in found.values()]
        return sorted(stored, key=lambda each: max(each.opened, each.closed))

    async def delete(self, stored: StoredRequest) -> None:
        """Delete the stored `stored`. Raises BusUnavailable; the key then ends with the key's
        lifetime.
        """
        await self._bus.delete(REQUEST_PREFIX + stored.id)

    async def save(self, stored: StoredRequest, *, now: float) -> None:
        """Store `stored`. Raises BusUnavailable."""
        await self._bus.put(
            REQUEST_PREFIX + stored.id, encode_payload(stored), ttl=lifetime_of(stored, now)
        )
