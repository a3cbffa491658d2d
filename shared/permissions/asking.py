"""A question to the permission service, placed anew until it is decided, however often the
permission service is replaced meanwhile.

An ask has one name for good, so placing it again is safe: the permission service goes on where the
process before it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.bus import Bus
from shared.bus.channels import (
    PERMISSION_REQUESTS,
    PermissionDecision,
    PermissionRequest,
    PermissionWaiting,
    decode_payload,
)
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.fair_use import (
    TOO_MUCH_IN_FLIGHT,
    InputsInFlight,
    request_problem,
    size_in_flight,
)
from shared.runtime.errors import NoWorker, WorkerLost

WITHOUT_SERVICE_SECONDS = (
    60.0  # a permission service that does not come back within it does not come back by itself
)
RETRY_SECONDS = 0.3


async def ask_permission_service(
    bus: Bus,
    in_flight: InputsInFlight,
    ask: PermissionRequest,
    on_waiting: Callable[[], None] = lambda: None,
) -> PermissionDecision:
    """Return the decision of the permission service on `ask`; leaving early withdraws the request.
    `on_waiting` is called once a person is asked, if `ask` announces that.

    Raises CCProxyError: then the answer is no. Of a request that is too large, or beyond its
    caller's share of `in_flight`, only an excerpt is sent, which the permission service denies and
    logs.
    """
    if problem := request_problem(ask):
        return await _until_decided(bus, refused_excerpt(ask, problem), on_waiting)
    with in_flight.carried(ask.caller, size_in_flight(ask)) as fits:
        placed = ask if fits else refused_excerpt(ask, TOO_MUCH_IN_FLIGHT)
        return await _until_decided(bus, placed, on_waiting)


async def _until_decided(
    bus: Bus, ask: PermissionRequest, on_waiting: Callable[[], None]
) -> PermissionDecision:
    """Place `ask` until a permission service has decided `ask`. Raises CCProxyError."""
    loop = asyncio.get_running_loop()
    last_seen = loop.time()
    while True:
        replies = bus.call(PERMISSION_REQUESTS, ask)
        try:
            async with replies:
                announced = not ask.announces
                async for reply in replies:
                    if not announced:
                        announced = True
                        if decode_payload(PermissionWaiting, reply).waiting:
                            on_waiting()
                        continue
                    return decode_payload(PermissionDecision, reply)
        except (NoWorker, WorkerLost):
            if replies.worker:
                last_seen = loop.time()
            if loop.time() - last_seen > WITHOUT_SERVICE_SECONDS:
                raise
        else:
            raise NoWorker("The permission service gave no decision.")
        await asyncio.sleep(RETRY_SECONDS)
