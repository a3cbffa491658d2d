"""A question to the permission desk, placed anew until it is decided, however often the desk is replaced meanwhile.

An ask has one name for good, so placing it again is safe: the desk goes on where the one before it stopped.
"""

from __future__ import annotations

import asyncio

from shared.bus import Bus
from shared.channels import PERMISSION_ASK, PermissionAsk, PermissionDecision, decode
from shared.errors import NoWorker, WorkerLost

WITHOUT_DESK_SECONDS = 60.0  # a desk that does not come back within it does not come back by itself
RETRY_SECONDS = 0.3


async def ask_desk(bus: Bus, ask: PermissionAsk) -> PermissionDecision:
    """Wait for the decision; leaving early withdraws the ask. Raises CCProxyError: then it is no."""
    loop = asyncio.get_running_loop()
    last_seen = loop.time()
    while True:
        replies = bus.call(PERMISSION_ASK, ask)
        try:
            async with replies:
                async for reply in replies:
                    return decode(PermissionDecision, reply)
        except (NoWorker, WorkerLost):
            if replies.worker:
                last_seen = loop.time()
            if loop.time() - last_seen > WITHOUT_DESK_SECONDS:
                raise
        else:
            raise NoWorker("The permission desk gave no decision.")
        await asyncio.sleep(RETRY_SECONDS)
