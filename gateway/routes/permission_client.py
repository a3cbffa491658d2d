"""The permission service as the gateway's routes reach it: over the bus, and through the service's
restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from shared.bus import Bus
from shared.bus.channels import PERMISSION_QUERIES, PermissionQuery
from shared.permissions.asking import RETRY_SECONDS
from shared.runtime.errors import BusUnavailable, NoWorker, Stopping, WorkerLost
from shared.runtime.exact_json import load_json


class PermissionClient:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def question(
        self, verb: str, by: str, parameters: dict[str, Any], *, may_ask: bool = False
    ) -> bytes:
        """Return the permission service's answer as JSON. `may_ask` as in PermissionQuery.

        Raises NotFound, Conflict, NotAllowed and ClientError; NoWorker or BusUnavailable without a
        permission service.
        """
        async with self._bus.call(
            PERMISSION_QUERIES, PermissionQuery(verb, parameters, by, may_ask)
        ) as replies:
            async for reply in replies:
                return reply
        raise NoWorker("The permission service gave no answer.")

    async def watch(self, after: int | None) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of the permission service after event number `after`, each once and in
        order, until cancelled.

        An event is `number`, `name` and `data`, or `synced`, the number where the present begins.
        """
        # Used only until `synced`: pending requests have no order that could be resumed.
        told: set[int] = set()
        while True:
            try:
                async with self._bus.call(
                    PERMISSION_QUERIES, PermissionQuery("watch", {"after": after})
                ) as replies:
                    async for reply in replies:
                        event = load_json(reply)
                        if "synced" in event:
                            # From here on events come in order, so a new watch can resume behind
                            # the last one.
                            after = event["synced"]
                        elif after is not None:
                            after = event["number"]
                        elif event["number"] in told:
                            continue
                        else:
                            told.add(event["number"])
                        yield event
            except (NoWorker, WorkerLost, BusUnavailable, Stopping):
                # The service restarts. A new watch resumes, and the client's stream goes on.
                await asyncio.sleep(RETRY_SECONDS)
