"""Model lists, as the provider lists them now: in Anthropic's shape for its clients, in OpenAI's
for all other clients.

Claude Code's discovery reads `id` and `display_name`, OpenAI's clients `id`, `object` and
`created`; each list carries the fields both need. The owner's own names for models are listed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams

from gateway.proxy.catalogue import Catalogue
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, NotFound

# Anthropic's own limit of a page; a client without a limit gets the whole list.
MOST_LISTED = 1000
LISTED_LIFECYCLES = frozenset({"active", "deprecated"})


def models_router(prefix: str, catalogue: Catalogue, aliases: Mapping[str, str]) -> APIRouter:
    """Return the routes of the list at `prefix`/v1/models and `prefix`/models, and of a single
    model by its id.
    """
    routes = APIRouter(prefix=prefix, tags=["models"])

    async def known() -> list[Json]:
        listed = await catalogue.demand()
        return [
            *listed,
            *(
                alias_entry(alias, target, listed)
                for alias, target in aliases.items()
                if is_exact_alias(alias)
            ),
        ]

    @routes.get("/v1/models")
    @routes.get("/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """List every model of the owner's account, and the owner's own names for models."""
        models = await known()
        if speaks_anthropic(request):
            return page_of(models, request.query_params)
        return {"object": "list", "data": [as_openai(model) for model in models]}

    @routes.get("/v1/models/{model_id}")
    @routes.get("/models/{model_id}")
    async def one_model(model_id: str, request: Request) -> dict[str, Any]:
        """Return one model of the list."""
        for model in await known():
            if model["id"] == model_id:
                return model if speaks_anthropic(request) else as_openai(model)
        raise NotFound(
            f"model: {model_id} is not a model of this account; GET {prefix}/v1/models lists them."
        )

    return routes


def page_of(models: list[Json], asked: QueryParams) -> Json:
    """Return the page of Anthropic's list for the query `asked`. Raises ClientError naming a wrong
    parameter.
    """
    limit = asked.get("limit", str(MOST_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_LISTED:
        raise ClientError(f"limit: must be a number from 1 to {MOST_LISTED}.", param="limit")
    wanted = {*asked.getlist("lifecycle"), *asked.getlist("lifecycle[]")}
    if unknown := sorted(wanted - LISTED_LIFECYCLES):
        raise ClientError(
            f"lifecycle: {unknown[0]!r} models are not listed here.", param="lifecycle"
        )
    found = [model for model in models if not wanted or model.get("lifecycle", "active") in wanted]
    after = asked.get("after_id")
    before = asked.get("before_id")
    start = place_of(after, found, "after_id") + 1 if after else 0
    stop = place_of(before, found, "before_id") if before else len(found)
    within = found[start:stop]
    # A page before an id holds the models nearest to the id, not the first of the list.
    shown = within[-int(limit) :] if before and not after else within[: int(limit)]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {
        "data": shown,
        "has_more": len(shown) < len(within),
        "first_id": ends[0],
        "last_id": ends[1],
    }


def place_of(model_id: str, models: list[Json], param: str) -> int:
    """Return the index of the model. Raises ClientError for an unknown id."""
    for place, model in enumerate(models):
        if model["id"] == model_id:
            return place
    raise ClientError(f"{param}: {model_id!r} is not a model of this list.", param=param)


def speaks_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def is_exact_alias(alias: str) -> bool:
    return not alias.endswith("*") and not alias.startswith("/")


def alias_entry(alias: str, target: str, listed: list[Json]) -> Json:
    """Return the owner's name for a model, with the description of the model."""
    model = next(
        (model for model in listed if model["id"] == target), {"type": "model", "created_at": None}
    )
    return model | {"id": alias, "display_name": f"{alias} → {target}"}


def as_openai(model: Json) -> Json:
    created = model.get("created_at")
    seconds = int(datetime.fromisoformat(created).timestamp()) if created else 0
    shape = {"id": model["id"], "object": "model", "created": seconds, "owned_by": "anthropic"}
    return shape | {"display_name": model.get("display_name") or model["id"]}
