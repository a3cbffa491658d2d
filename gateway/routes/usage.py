"""`/usage`: the rest of each subscription, and past use and cost. The first is answered without
analytics.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from gateway.metering.quota import Quotas
from gateway.routes.logs import run_question
from shared.bus import Bus
from shared.bus.channels import LogsQuery
from shared.runtime.errors import CCProxyError


def router(bus: Bus, quotas: Quotas) -> APIRouter:
    routes = APIRouter(tags=["usage"])

    @routes.get("/usage")
    async def usage() -> dict[str, Any]:
        """Return windows with forecasts; tokens and dollars of the last day, week and 30 days by
        provider and `billed_to`.
        """
        answer: dict[str, Any] = {
            "quota": quotas.describe(),
            "spent": [],
            "problem": "",
            "timestamp": time.time(),
        }
        try:
            spent = await run_question(bus, LogsQuery("usage"))
        except CCProxyError as error:
            return answer | {"problem": error.message}
        return answer | {"spent": spent.get("results", []), "prices_as_of": spent["prices_as_of"]}

    @routes.post("/usage/prices/refresh")
    async def refresh_prices() -> dict[str, Any]:
        """Fetch a newer price list from OBSERVABILITY__PRICES_URL."""
        return await run_question(bus, LogsQuery("refresh_prices"))

    return routes
