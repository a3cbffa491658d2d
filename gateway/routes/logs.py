"""`/logs`: what analytics knows, asked over the bus. Parameters only; a client never sends SQL."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query

from shared.bus import Bus
from shared.channels import LOGS_QUERY, LogsQuery
from shared.errors import NotFound
from shared.settings import Settings


def router(settings: Settings, bus: Bus) -> APIRouter:
    routes = APIRouter(prefix="/logs", tags=["logs"])
    switches = settings.observability

    async def ask(name: str, **parameters: Any) -> dict[str, Any]:
        if not (switches.enabled and switches.logs_endpoints_enabled):
            raise NotFound("The log endpoints are switched off (OBSERVABILITY__LOGS_ENDPOINTS_ENABLED).")
        given = {name: value for name, value in parameters.items() if value is not None}
        return await query(bus, LogsQuery(name, given))

    @routes.get("/query")
    async def last_requests(
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        model: str | None = None,
        service_type: str | None = None,
        start_time: Annotated[float | None, Query(description="UTC seconds")] = None,
        end_time: Annotated[float | None, Query(description="UTC seconds")] = None,
    ) -> dict[str, Any]:
        """The last requests, newest first."""
        return await ask(
            "entries", limit=limit, model=model, service_type=service_type, start_time=start_time, end_time=end_time
        )

    @routes.get("/status")
    async def status() -> dict[str, Any]:
        """Whether records are being kept, and how many there are."""
        return await ask("status")

    return routes


async def query(bus: Bus, question: LogsQuery) -> dict[str, Any]:
    """The answer to one question, which may come in several pieces of rows."""
    answer: dict[str, Any] = {}
    async with bus.call(LOGS_QUERY, question) as replies:
        async for reply in replies:
            piece = orjson.loads(reply)
            rows = answer.get("results", []) + piece.get("results", [])
            answer |= piece
            if rows:
                answer["results"] = rows
    return answer
