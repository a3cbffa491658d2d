"""The permission desk as the gateway reaches it: over the bus, and through its restarts.

An ask has one name for good, so placing it again is safe: the desk goes on where the one before it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from shared.bus import Bus
from shared.channels import PERMISSION_ASK, PERMISSION_DESK, DeskQuestion, PermissionAsk, PermissionDecision, decode
from shared.errors import BusUnavailable, NoWorker, Stopping, WorkerLost

WITHOUT_DESK_SECONDS = 60.0  # a desk that does not come back within it does not come back by itself
RETRY_SECONDS = 0.3


class DeskClient:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def question(self, verb: str, by: str, parameters: dict[str, Any]) -> bytes:
        """The answer as JSON. Raises NotFound, Conflict, ClientError; NoWorker or BusUnavailable without a desk."""
        async with self._bus.call(PERMISSION_DESK, DeskQuestion(verb, parameters, by)) as replies:
            async for reply in replies:
                return reply
        raise NoWorker("The permission desk gave no answer.")

    async def ask(self, ask: PermissionAsk) -> PermissionDecision:
        """Wait for the decision, however often the desk is replaced meanwhile. Raises CCProxyError: then it is no."""
        loop = asyncio.get_running_loop()
        last_seen = loop.time()
        while True:
            replies = self._bus.call(PERMISSION_ASK, ask)
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

    async def watch(self, after: int | None) -> AsyncGenerator[dict[str, Any], None]:
        """What happens at the desk after event number `after`, each once and in order, until cancelled: `number`,
        `name` and `data`, or `synced`, the number where the present begins."""
        told: set[int] = set()  # only until synced: what is pending has no order that could be resumed
        while True:
            try:
                async with self._bus.call(PERMISSION_DESK, DeskQuestion("watch", {"after": after})) as replies:
                    async for reply in replies:
                        event = orjson.loads(reply)
                        if "synced" in event:
                            after = event["synced"]
                        elif after is not None:
                            after = event["number"]
                        elif event["number"] in told:
                            continue
                        else:
                            told.add(event["number"])
                        yield event
            except (NoWorker, WorkerLost, BusUnavailable, Stopping):
                await asyncio.sleep(RETRY_SECONDS)
