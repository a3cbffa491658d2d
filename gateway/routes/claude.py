"""`/api`: Claude direct, with the owner's credential."""

from __future__ import annotations

from gateway.providers import Provider
from gateway.proxy.active_requests import ActiveRequests
from gateway.proxy.exchange import MakeExchange
from gateway.proxy.resources import RESOURCES, Resource
from gateway.server.asgi import ASGIApp
from gateway.server.forwarded import TrustedProxies
from shared.settings.servers import ServerSettings


def claude_endpoints(
    exchange: MakeExchange,
    claude: Provider,
    active_requests: ActiveRequests,
    server: ServerSettings,
) -> dict[str, ASGIApp]:
    """Return the paths answered by Claude, with the client's format and the provider's address of
    every path.
    """
    proxies = TrustedProxies(server.trusted_proxies)
    fixed = (active_requests, server.max_body_bytes, proxies, server.max_upload_bytes)
    return {
        **{
            f"/api{path}": Resource("anthropic", claude, path, *fixed, does)
            for path, does in RESOURCES.items()
        },
        "/api/v1/messages": exchange("anthropic", claude, "/v1/messages"),
        "/api/v1/messages/count_tokens": exchange("anthropic", claude, "/v1/messages/count_tokens"),
        "/api/v1/chat/completions": exchange("openai_chat", claude, "/v1/messages"),
        "/api/v1/responses": exchange("openai_responses", claude, "/v1/messages"),
    }
