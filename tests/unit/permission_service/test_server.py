"""Deliveries in, decisions out; what cannot be read is refused, never allowed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from permission_service.desk import Desk
from permission_service.server import DeskServer
from shared.channels import DeskQuestion, PermissionAsk, encode
from shared.errors import ClientError
from shared.metrics import DeskMetrics, Metrics


class Asked:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.replies: list[Any] = []

    async def send(self, data: bytes) -> None:
        self.replies.append(orjson.loads(data))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics) -> DeskServer:
    return DeskServer(Desk(), DeskMetrics(metrics))


async def test_an_ask_gets_one_decision(server: DeskServer, metrics: Metrics) -> None:
    asked = Asked(encode(PermissionAsk("a", "Write", {"path": "x", "lines": [1, None, {"deep": True}]})))
    await server.ask(asked)  # type: ignore[arg-type]
    (decision,) = asked.replies
    assert (decision["request_id"], decision["outcome"]) == ("a", "denied")
    assert b'ccproxy_permissions_decided_total{outcome="denied"} 1.0' in metrics.snapshot()


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"request_id":"a","tool_name":"Bash","input":"ls"}'])
async def test_an_ask_that_cannot_be_read_is_refused(server: DeskServer, payload: bytes) -> None:
    asked = Asked(payload)
    with pytest.raises(ClientError):
        await server.ask(asked)  # type: ignore[arg-type]
    assert asked.replies == []


async def test_what_is_pending_can_be_seen(server: DeskServer) -> None:
    asked = Asked(encode(DeskQuestion("pending")))
    await server.answer(asked)  # type: ignore[arg-type]
    assert asked.replies == [[]]


async def test_a_verb_the_desk_does_not_know_is_refused(server: DeskServer) -> None:
    with pytest.raises(ClientError, match="'approve_everything'"):
        await server.answer(Asked(encode(DeskQuestion("approve_everything"))))  # type: ignore[arg-type]
