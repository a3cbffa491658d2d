"""`/api`: Claude direct, with the owner's credential."""

from __future__ import annotations

from gateway.asgi import ASGIApp
from gateway.exchange import MakeExchange
from gateway.providers import Provider


def endpoints(exchange: MakeExchange, claude: Provider) -> dict[str, ASGIApp]:
    """The exact paths answered by Claude: in which format, and where each goes at the provider."""
    return {
        "/api/v1/messages": exchange("anthropic", claude, "/v1/messages"),
        "/api/v1/messages/count_tokens": exchange("anthropic", claude, "/v1/messages/count_tokens"),
        "/api/v1/chat/completions": exchange("openai_chat", claude, "/v1/messages"),
        "/api/v1/responses": exchange("openai_responses", claude, "/v1/messages"),
    }
