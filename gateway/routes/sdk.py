"""`/sdk`: Claude through the SDK's workers, with the owner's local tools."""

from __future__ import annotations

from collections.abc import Callable

from gateway.asgi import ASGIApp
from gateway.exchange import Exchange
from gateway.providers import Provider


def endpoints(exchange: Callable[[Provider, str], Exchange], sdk: Provider) -> dict[str, ASGIApp]:
    return {"/sdk/v1/messages": exchange(sdk, "/v1/messages")}
