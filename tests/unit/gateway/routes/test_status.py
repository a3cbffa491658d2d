"""What stands behind a family of routes."""

from __future__ import annotations

from tests.unit.gateway.conftest import Start
from tests.unit.gateway.routes.test_system import EVERYTHING, LivelyBus


async def test_api_says_where_it_goes_and_what_is_wrong(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.listing = lambda connection: connection.answer(b"{}", "500 No")
    body = (await running.client.get("/api/status")).json()
    assert (body["provider"], body["base_url"]) == ("claude", running.provider.url)
    assert "did not list" in body["problem"]


async def test_sdk_shows_each_worker_s_own_words(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING, pool={"idle": 3}))
    shown = (await running.client.get("/sdk/status")).json()
    [worker] = shown["workers"]
    assert (worker["instance"], worker["pool"]) == ("sdk_worker-1", {"idle": 3})
    assert shown["line"] == {"waiting": 2, "max": 64}


async def test_without_the_bus_sdk_says_so(start_gateway: Start) -> None:
    running = await start_gateway()
    assert (await running.client.get("/sdk/status")).status_code == 503
