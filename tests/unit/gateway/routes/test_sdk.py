"""The addresses under /sdk."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.unit.gateway.conftest import KeepingBus, Start
from tests.unit.gateway.providers.test_sdk import BLOCK, DELTA, END, HEAD, START, OneTurnBus


class WorkingBus(KeepingBus):
    @contextlib.asynccontextmanager
    async def call(self, channel: Any, payload: Any, *, request_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with OneTurnBus(HEAD, START + BLOCK, DELTA, END).call(channel, payload, request_id=request_id) as replies:
            yield replies


async def test_a_turn_is_answered_whole(start_gateway: Start) -> None:
    running = await start_gateway(WorkingBus())
    response = await running.post("/sdk/v1/messages")
    assert response.json()["content"] == [{"type": "text", "text": "a"}]
    assert response.headers["x-ccproxy-ignored"] == "temperature"


async def test_a_turn_is_answered_as_a_stream(start_gateway: Start) -> None:
    running = await start_gateway(WorkingBus())
    response = await running.post("/sdk/v1/messages", json={"model": "claude-x", "stream": True, "messages": []})
    assert response.content == START + BLOCK + DELTA + END
    [record] = await running.bus.records(1)
    assert (record.service_type, record.worker, record.tokens_output) == ("sdk", "worker-1", 7)
