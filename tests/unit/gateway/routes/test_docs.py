"""The list of addresses and the way in, from this server alone."""

from __future__ import annotations

import re

import pytest

from gateway.pages.files import render_page
from gateway.routes.docs import PARTS
from tests.unit.gateway.conftest import Start


async def test_the_list_of_addresses_comes_from_this_package(start_gateway: Start) -> None:
    running = await start_gateway()
    shown = await running.client.get("/docs")
    assert shown.status_code == 200
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    for name in PARTS - {"docs.html"}:
        assert (await running.client.get(f"/docs/{name}")).status_code == 200
    assert (await running.client.get("/docs/app.py")).status_code == 404


def test_the_list_loads_nothing_from_anywhere_else() -> None:
    for name in PARTS:
        text = bytes(render_page(name, PARTS).body).decode()
        assert not set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not re.search(r"style=|\son\w+=\"|<script>|eval\(|innerHTML", text), name


@pytest.mark.parametrize("token", [None, "owner-secret-token"])
async def test_the_root_leads_browsers_to_the_dashboard_and_tells_programs_the_bases(
    start_gateway: Start, token: str | None
) -> None:
    running = await start_gateway(security={"auth_token": token})
    led = await running.client.get("/", headers={"accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/dashboard")
    told = (await running.client.get("/")).json()
    assert told["anthropic_base_url"] == "/api"
    assert told["openai_base_url"] == "/api/v1"
