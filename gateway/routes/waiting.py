"""`/usage/waiting`: the requests that wait in front of a provider, in all gateways."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from gateway.waiting.waiting_list import WaitingList


def waiting_router(waiting: WaitingList) -> APIRouter:
    routes = APIRouter(prefix="/usage/waiting", tags=["usage"])

    @routes.get("")
    async def list_waiting() -> dict[str, Any]:
        """List the requests that wait for the reset of a limit or for a place at a provider, the
        first that came first.
        """
        return {"requests": await waiting.all(), "timestamp": time.time()}

    return routes
