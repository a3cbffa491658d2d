"""`/api`: Claude direct, with the owner's credential."""

from __future__ import annotations

from gateway.asgi import ASGIApp
from gateway.exchange import MakeExchange
from gateway.forwarded import TrustedProxies
from gateway.inflight import Flights
from gateway.providers import Provider
from gateway.resources import RESOURCES, Resource
from shared.server_settings import ServerSettings


def endpoints(exchange: MakeExchange, claude: Provider, flights: Flights, server: ServerSettings) -> dict[str, ASGIApp]:
    """Return the paths answered by Claude, with the client's format and the provider's address of
    every path.
    """
    proxies = TrustedProxies(server.trusted_proxies)
    fixed = (flights, server.max_body_bytes, proxies, server.max_upload_bytes)
    return {
        **{f"/api{path}": Resource("anthropic", claude, path, *fixed, does) for path, does in RESOURCES.items()},
        "/api/v1/messages": exchange("anthropic", claude, "/v1/messages"),
        "/api/v1/messages/count_tokens": exchange("anthropic", claude, "/v1/messages/count_tokens"),
        "/api/v1/chat/completions": exchange("openai_chat", claude, "/v1/messages"),
        "/api/v1/responses": exchange("openai_responses", claude, "/v1/messages"),
    }
