"""`/api`: Claude direct, with the owner's credential."""

from __future__ import annotations

from collections.abc import Callable

from gateway.asgi import ASGIApp
from gateway.exchange import Exchange
from gateway.providers import Provider


def endpoints(exchange: Callable[[Provider, str], Exchange], claude: Provider) -> dict[str, ASGIApp]:
    """The exact paths answered by Claude, and where each goes at the provider."""
    return {
        "/api/v1/messages": exchange(claude, "/v1/messages"),
        "/api/v1/messages/count_tokens": exchange(claude, "/v1/messages/count_tokens"),
    }
