"""The simulator's clock moves forward when asked, and never back."""

from __future__ import annotations

import httpx

from simulator.clock import SimulatedClock


def test_the_clock_moves_forward_and_never_back() -> None:
    clock = SimulatedClock()
    before = clock.now()
    assert clock.forward(60) == 60
    assert clock.forward(-60) == 60
    assert clock.now() >= before + 60


async def test_the_clock_is_moved_over_http(client: httpx.AsyncClient) -> None:
    moved = await client.post("/simulator/clock", json={"seconds": 90})
    assert moved.json() == {"ahead_seconds": 90}


async def test_an_order_without_seconds_is_refused(client: httpx.AsyncClient) -> None:
    for order in ("", "{}", "[]", '{"seconds": "soon"}'):
        assert (await client.post("/simulator/clock", content=order)).status_code == 400
