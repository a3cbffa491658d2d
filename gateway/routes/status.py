"""`/api/status` and `/sdk/status`: what stands behind a family of routes, at a glance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.catalogue import Catalogue
from shared.bus import Bus
from shared.channels import SDK_TURN
from shared.settings import Settings

FORMATS = {"messages": "/v1/messages", "chat_completions": "/v1/chat/completions", "responses": "/v1/responses"}


def router(settings: Settings, bus: Bus, catalogue: Catalogue) -> APIRouter:
    routes = APIRouter(tags=["status"])

    @routes.get("/api/status")
    async def api() -> dict[str, Any]:
        """Claude direct: where it is, and whether it lists its models to us."""
        models = await catalogue.listed()
        return {
            "provider": "claude",
            "base_url": settings.claude.base_url,
            "models": len(models),
            "problem": catalogue.problem,
            "formats": {name: f"/api{path}" for name, path in FORMATS.items()},
        }

    @routes.get("/sdk/status")
    async def sdk() -> dict[str, Any]:
        """Every worker that is alive, what it says of its pool, and how long the line in front of them is."""
        workers = [process for process in await bus.processes() if process["service"] == "sdk_worker"]
        return {
            "provider": "sdk",
            "line": {"waiting": await bus.waiting(SDK_TURN), "max": settings.sdk.max_waiting},
            "workers": sorted(workers, key=lambda worker: str(worker["instance"])),
            "formats": {name: f"/sdk{path}" for name, path in FORMATS.items()},
        }

    return routes
