"""Model lists, as the provider tells them now: in Anthropic's shape for its clients, in OpenAI's for all others.

Claude Code's discovery reads `id` and `display_name`, OpenAI's clients `id`, `object` and `created`; each list carries
what both need. The owner's own names for models are listed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request

from gateway.catalogue import Catalogue
from shared.errors import NotFound
from shared.formats.ir import Json


def router(prefix: str, catalogue: Catalogue, aliases: Mapping[str, str]) -> APIRouter:
    """The list at `prefix`/v1/models and `prefix`/models, and one model of it by its id."""
    routes = APIRouter(prefix=prefix, tags=["models"])

    async def known() -> list[Json]:
        listed = await catalogue.demand()
        return [*listed, *(named(alias, target, listed) for alias, target in aliases.items() if is_exact(alias))]

    @routes.get("/v1/models")
    @routes.get("/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """Every model of the owner's account, and the owner's own names for them."""
        models = await known()
        if speaks_anthropic(request):
            ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
            return {"data": models, "has_more": False, "first_id": None, "last_id": None, **ends}
        return {"object": "list", "data": [as_openai(model) for model in models]}

    @routes.get("/v1/models/{model_id}")
    @routes.get("/models/{model_id}")
    async def one_model(model_id: str, request: Request) -> dict[str, Any]:
        for model in await known():
            if model["id"] == model_id:
                return model if speaks_anthropic(request) else as_openai(model)
        raise NotFound(f"model: {model_id} is not a model of this account; GET {prefix}/v1/models lists them.")

    return routes


def speaks_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def is_exact(alias: str) -> bool:
    return not alias.endswith("*") and not alias.startswith("/")


def named(alias: str, target: str, listed: list[Json]) -> Json:
    """The owner's name for a model, described as that model is."""
    model = next((model for model in listed if model["id"] == target), {"type": "model", "created_at": None})
    return model | {"id": alias, "display_name": f"{alias} → {target}"}


def as_openai(model: Json) -> Json:
    created = model.get("created_at")
    seconds = int(datetime.fromisoformat(created).timestamp()) if created else 0
    shape = {"id": model["id"], "object": "model", "created": seconds, "owned_by": "anthropic"}
    return shape | {"display_name": model.get("display_name") or model["id"]}
