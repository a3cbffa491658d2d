"""`/sdk`: Claude through the SDK's workers, with the owner's local tools."""

from __future__ import annotations

from gateway.asgi import ASGIApp
from gateway.providers import Provider
from gateway.routes.endpoint import MakeExchange


def endpoints(exchange: MakeExchange, sdk: Provider) -> dict[str, ASGIApp]:
    """The exact paths answered by the SDK's workers: in which format."""
    return {
        "/sdk/v1/messages": exchange("anthropic", sdk, "/v1/messages"),
        "/sdk/v1/chat/completions": exchange("openai_chat", sdk, "/v1/messages"),
        "/sdk/v1/responses": exchange("openai_responses", sdk, "/v1/messages"),
    }
