"""Metrics pushed whole, again and again, and troubles told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from analytics.push import push_metrics, push_once
from shared.runtime.errors import BusUnavailable
from shared.runtime.metric_snapshots import snapshot_key
from shared.runtime.metrics import Metrics
from tests.unit.gateway.conftest import Connection, ScriptedProvider


class Snapshots:
    """The bus as far as it is needed here."""

    away = False

    async def scan(self, prefix: str) -> dict[str, bytes]:
        if self.away:
            raise BusUnavailable
        assert prefix == "metrics:"
        return {snapshot_key("gateway", "g1"): Metrics().snapshot()}


@pytest.fixture
async def pushgateway() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


async def test_the_metrics_of_all_replace_those_pushed_before(
    pushgateway: ScriptedProvider,
) -> None:
    stop, twice = asyncio.Event(), asyncio.Event()

    async def first(connection: Connection) -> None:
        await connection.answer(b"")

    async def second(connection: Connection) -> None:
        await connection.answer(b"")
        twice.set()

    pushgateway.scripts += [first, second]
    pushing = asyncio.create_task(push_metrics(Snapshots(), pushgateway.url + "/", 0.01, stop))  # type: ignore[arg-type]
    await asyncio.wait_for(twice.wait(), 20)
    stop.set()
    await asyncio.wait_for(pushing, 20)
    one, other, *_ = pushgateway.received
    assert one.head.startswith(b"PUT /metrics/job/ccproxy HTTP/1.1")
    assert b'component="gateway",instance_id="g1"' in other.body


async def test_what_cannot_be_delivered_is_told(pushgateway: ScriptedProvider) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.answer(b"not today", "503 Service Unavailable")

    pushgateway.scripts.append(refuse)
    bus = Snapshots()
    async with httpx.AsyncClient(base_url=pushgateway.url) as client:
        assert await push_once(bus, client) == "HTTP 503: not today"  # type: ignore[arg-type]
        bus.away = True
        assert "Redis" in await push_once(bus, client)  # type: ignore[arg-type]
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as client:
        bus.away = False
        assert await push_once(bus, client)  # type: ignore[arg-type]
