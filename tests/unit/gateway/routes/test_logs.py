"""Questions about the log go to analytics as parameters and come back joined."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson

from shared.channels import LogsQuery
from tests.unit.gateway.conftest import KeepingBus, Start


class AnsweringBus(KeepingBus):
    def __init__(self, *pieces: dict[str, Any]) -> None:
        super().__init__()
        self.pieces = pieces
        self.asked: list[LogsQuery] = []

    @contextlib.asynccontextmanager
    async def call(self, _channel: Any, question: LogsQuery, **_: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(question)
        yield self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield orjson.dumps(piece)


async def test_pieces_of_rows_are_joined_in_order(start_gateway: Start) -> None:
    bus = AnsweringBus({"results": [1, 2]}, {"results": [3], "count": 3})
    running = await start_gateway(bus)
    response = await running.client.get("/logs/query?limit=5&model=claude-x")
    assert response.json() == {"results": [1, 2, 3], "count": 3}
    assert bus.asked == [LogsQuery("entries", {"limit": 5, "model": "claude-x"})]


async def test_a_bad_parameter_is_named(start_gateway: Start) -> None:
    running = await start_gateway(AnsweringBus())
    response = await running.client.get("/logs/query?limit=0")
    assert response.status_code == 400
    assert "limit: " in response.json()["error"]["message"]


async def test_the_log_can_be_switched_off(start_gateway: Start) -> None:
    running = await start_gateway(AnsweringBus(), observability={"logs_endpoints_enabled": False})
    assert (await running.client.get("/logs/status")).status_code == 404
