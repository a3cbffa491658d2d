"""`/api/status` and `/sdk/status`: the state of the provider behind a family of routes."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from gateway.proxy.catalogue import Catalogue
from shared.bus import Bus
from shared.bus.channels import SDK_TURN, labelled_turns
from shared.settings.labels import label_sets
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
        """List the running workers of all machines with the figures of each pool, the length of the
        queue in front of the workers, and the queues of turns that chose their worker.
        """
        workers = [
            process for process in await bus.processes() if process["service"] == "sdk_worker"
        ]
        return {
            "provider": "sdk",
            "line": {"waiting": await bus.waiting(SDK_TURN), "max": settings.sdk.max_waiting},
            "chosen": await chosen_lines(bus, workers),
            "workers": sorted(workers, key=lambda worker: str(worker["instance"])),
            "formats": {name: f"/sdk{path}" for name, path in FORMATS.items()},
        }

    return routes


async def chosen_lines(bus: Bus, workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the queues of turns that chose their worker, without the empty ones."""
    choices = {chosen for worker in workers for chosen in label_sets(worker.get("labels", []))}
    choices |= {frozenset({str(worker["instance"])}) for worker in workers}
    ordered = sorted(choices, key=sorted)
    lengths = await asyncio.gather(*(bus.waiting(labelled_turns(each)) for each in ordered))
    return [
        {"labels": sorted(chosen), "waiting": waiting}
        for chosen, waiting in zip(ordered, lengths, strict=True)
        if waiting
    ]
