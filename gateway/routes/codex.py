"""`/codex`: the owner's ChatGPT account (or OpenAI key) for clients of all three formats."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.providers.codex import Codex
from gateway.proxy.active_requests import ActiveRequests
from gateway.proxy.exchange import MakeExchange
from gateway.proxy.images import Images
from gateway.server.asgi import ASGIApp
from shared.accounts.account import Account
from shared.accounts.quota import describe_quota
from shared.formats.ir import Json
from shared.runtime.errors import CCProxyError, NotFound

FORMATS = {
    "responses": "/responses",
    "chat_completions": "/v1/chat/completions",
    "messages": "/v1/messages",
}


def codex_endpoints(
    exchange: MakeExchange,
    codex: Codex,
    count_tokens: ASGIApp,
    active_requests: ActiveRequests,
    largest: int,
) -> dict[str, ASGIApp]:
    """Return the paths answered by Codex. A conversation may be named in the path."""
    drawn = Images("openai_chat", codex, "/images/generations", active_requests, largest)
    edited = Images("openai_chat", codex, "/images/edits", active_requests, largest, edit=True)
    responses = exchange("openai_responses", codex, "/responses")
    chat = exchange("openai_chat", codex, "/responses")
    messages = exchange("anthropic", codex, "/responses")
    return {
        "/codex/responses": responses,
        "/codex/v1/responses": responses,
        "/codex/{session_id}/responses": responses,
        "/codex/chat/completions": chat,
        "/codex/v1/chat/completions": chat,
        "/codex/{session_id}/chat/completions": chat,
        "/codex/messages": messages,
        "/codex/v1/messages": messages,
        "/codex/messages/count_tokens": count_tokens,
        "/codex/v1/messages/count_tokens": count_tokens,
        "/codex/images/generations": drawn,
        "/codex/v1/images/generations": drawn,
        "/codex/images/edits": edited,
        "/codex/v1/images/edits": edited,
    }


def codex_router(codex: Codex, account: Account, aliases: Mapping[str, str]) -> APIRouter:
    routes = APIRouter(prefix="/codex", tags=["codex"])

    async def listed() -> list[Json]:
        """Return the provider's models as listed now or last; before any list, the models built
        into the Codex program.
        """
        try:
            return await codex.catalogue.demand()
        except CCProxyError:
            if built_in := await codex.built_in_models():
                return built_in
            raise

    def described(model: Json) -> Json:
        return as_listed(model, codex.settings.max_output_tokens_fallback)

    @routes.get("/v1/models")
    @routes.get("/models")
    async def list_models(request: Request) -> Response:
        """List the models: OpenAI's list in `data` (with the fields for Anthropic's clients), the
        backend's own entries in `models`.
        """
        models = await listed()
        exact = [
            alias for alias in aliases if not alias.endswith("*") and not alias.startswith("/")
        ]
        data = [described(model) for model in models if model.get("visibility") != "hide"]
        data += [
            described({"slug": alias, "display_name": f"{alias} → {aliases[alias]}"})
            for alias in exact
        ]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        body = orjson.dumps(
            {"object": "list", "data": data, "has_more": False, **ends, "models": models}
        )
        etag = f'W/"{sha256(body).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        return Response(body, media_type="application/json", headers={"etag": etag})

    @routes.get("/v1/models/{model_id}")
    @routes.get("/models/{model_id}")
    async def one_model(model_id: str) -> Json:
        """Return one model of the list."""
        for model in await listed():
            if model["slug"] == model_id:
                return described(model)
        raise NotFound(
            f"model: {model_id} is not a model of this account; GET /codex/models lists them."
        )

    @routes.get("/status")
    async def status() -> dict[str, Any]:
        """Return the provider's address, the paying credential, and the state of the model list."""
        models = await codex.catalogue.listed()
        credentials = await account.describe()
        settings = codex.settings
        return {
            "provider": "codex",
            "base_url": settings.api_base_url
            if credentials.billed_to == "api_key"
            else settings.base_url,
            "credentials": {
                "status": credentials.status,
                "output": credentials.output,
                "billed_to": credentials.billed_to,
            },
            "instruction_mode": settings.system_prompt_injection_mode,
            "models": len(models),
            "problem": codex.catalogue.problem,
            "formats": {name: f"/codex{path}" for name, path in FORMATS.items()},
        }

    @routes.get("/usage")
    async def usage() -> dict[str, Any]:
        """Ask the provider for the windows of the subscription, and return them; none for a key."""
        quota = await codex.ask_quota()
        if quota is None:
            return {"provider": "codex", "windows": []}
        return describe_quota(quota, time.time())

    return routes


def as_listed(model: Json, max_output: int) -> Json:
    """Return a model's entry for OpenAI's and Anthropic's clients. The backend dates no model."""
    return {
        "id": model["slug"],
        "object": "model",
        "type": "model",
        "created": model.get("created") or 0,
        "created_at": "1970-01-01T00:00:00Z",
        "owned_by": "openai",
        "display_name": model.get("display_name") or model["slug"],
        "context_window": model.get("context_window"),
        "max_output_tokens": model.get("max_output_tokens") or max_output,
        "reasoning_efforts": [
            level["effort"] for level in model.get("supported_reasoning_levels") or []
        ],
    }
