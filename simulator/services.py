"""Both providers on one address. Their paths differ but for `/v1/models`, where the headers tell who is meant."""

from __future__ import annotations

from simulator.anthropic.messages import Anthropic
from simulator.codex.responses import BACKEND, PUBLIC, Codex
from simulator.exchange import Exchange


class Services:
    def __init__(self) -> None:
        self._anthropic = Anthropic()
        self._codex = Codex()

    async def __call__(self, exchange: Exchange) -> None:
        await (self._codex if is_for_codex(exchange) else self._anthropic)(exchange)


def is_for_codex(exchange: Exchange) -> bool:
    if exchange.path == "/v1/models":
        return "anthropic-version" not in exchange.headers and "x-api-key" not in exchange.headers
    return exchange.path.startswith((BACKEND, PUBLIC))
