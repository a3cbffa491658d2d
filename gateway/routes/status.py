"""`/api/status` and `/sdk/status`: the state of the provider behind a family of routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.proxy.catalogue import Catalogue
from shared.bus import Bus
from shared.bus.channels import SDK_TURN
from shared.settings.tree import Settings

FORMATS = {
    "messages": "/v1/messages",
    "chat_completions": "/v1/chat/completions",
    "responses": "/v1/responses",
}


def status_router(settings: Settings, bus: Bus, catalogue: Catalogue) -> APIRouter:
    routes = APIRouter(tags=["status"])

    @routes.get("/api/status")
    async def api() -> dict[str, Any]:
        """Return the address of the Claude provider, and the state of its model list."""
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
        """List the running workers with the figures of each pool, and the length of the queue in
        front of the workers.
        """
        workers = [
            process for process in await bus.processes() if process["service"] == "sdk_worker"
        ]
        return {
            "provider": "sdk",
            "line": {"waiting": await bus.waiting(SDK_TURN), "max": settings.sdk.max_waiting},
            "workers": sorted(workers, key=lambda worker: str(worker["instance"])),
            "formats": {name: f"/sdk{path}" for name, path in FORMATS.items()},
        }

    return routes
