"""`/usage` tells what is left even while nobody can tell what was spent."""

from __future__ import annotations

from typing import Any

from shared.bus.channels import LogsQuery
from tests.unit.gateway.conftest import Start
from tests.unit.gateway.routes.test_logs import AnsweringBus


def spent(span: str, billed_to: str, cost: float, unpriced_tokens: int = 0) -> dict[str, Any]:
    return {
        "span": span,
        "billed_to": billed_to,
        "requests": 2,
        "cost_usd": cost,
        "unpriced_tokens": unpriced_tokens,
    }


async def test_what_was_spent_stands_beside_what_is_left(start_gateway: Start) -> None:
    rows = [
        spent("24h", "subscription", 1.5),
        spent("24h", "subscription", 0.5, unpriced_tokens=40),
        spent("24h", "api_key", 9.0),
        spent("7d", "unknown", 9.0),
    ]
    bus = AnsweringBus({"results": rows, "cache_misses": [], "prices_as_of": "2026-11-06"})
    running = await start_gateway(bus)
    usage = (await running.client.get("/usage")).json()
    assert (usage["spent"], usage["prices_as_of"], usage["problem"]) == (rows, "2026-11-06", "")
    assert usage["included"] == [
        {"span": "24h", "requests": 4, "cost_usd": 2.0, "unpriced_tokens": 40}
    ]
    assert usage["monthly_usd"] == {}
    assert usage["quota"] == []
    assert bus.asked == [LogsQuery("usage")]


async def test_without_analytics_the_problem_is_told(start_gateway: Start) -> None:
    usage = (await (await start_gateway()).client.get("/usage")).json()
    assert usage["spent"] == []
    assert "Redis" in usage["problem"]


async def test_a_newer_price_list_is_fetched_when_asked(start_gateway: Start) -> None:
    bus = AnsweringBus({"models": 7, "prices_as_of": "2026-11-06"})
    running = await start_gateway(bus)
    assert (await running.client.post("/usage/prices/refresh", json={})).json()["models"] == 7
    assert bus.asked == [LogsQuery("refresh_prices")]
