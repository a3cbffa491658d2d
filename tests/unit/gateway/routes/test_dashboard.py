"""The dashboard's address and its switch."""

from __future__ import annotations

import re

import pytest

from tests.unit.gateway.conftest import Start


async def test_the_page_and_all_it_names_are_there(start_gateway: Start) -> None:
    client = (await start_gateway()).client
    answer = await client.get("/dashboard")
    assert answer.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:href|src)="(/dashboard/[^"]+)"', answer.text)
    assert len(named) == 3
    for path in [*named, "/dashboard/charts.js", "/dashboard/requests.js"]:
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/dashboard/permissions.js")).status_code == 404


@pytest.mark.parametrize("switches", [{"enabled": False}, {"dashboard_enabled": False}])
async def test_it_can_be_switched_off(start_gateway: Start, switches: dict[str, bool]) -> None:
    running = await start_gateway(observability=switches)
    for path in ("/dashboard", "/dashboard/dashboard.js"):
        assert (await running.client.get(path)).status_code == 404
