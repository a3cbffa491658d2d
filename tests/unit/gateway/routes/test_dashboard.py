"""The dashboard's address and its switch."""

from __future__ import annotations

import re

import pytest

from gateway.pages.files import page_content
from gateway.routes.dashboard import MODULES, PARTS
from gateway.routes.permissions import PAGE
from tests.unit.gateway.conftest import Start


async def test_the_page_and_all_it_names_are_there(start_gateway: Start) -> None:
    client = (await start_gateway()).client
    answer = await client.get("/dashboard")
    assert answer.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:href|src)="(/dashboard/[^"]+)"', answer.text)
    assert len(named) == 5
    for path in [*named, *(f"/dashboard/{name}" for name in MODULES)]:
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/dashboard/permissions.js")).status_code == 404


@pytest.mark.parametrize("switches", [{"enabled": False}, {"dashboard_enabled": False}])
async def test_it_can_be_switched_off(start_gateway: Start, switches: dict[str, bool]) -> None:
    running = await start_gateway(observability=switches)
    for path in ("/dashboard", "/dashboard/dashboard.js"):
        assert (await running.client.get(path)).status_code == 404


def test_every_module_that_a_page_imports_is_served_with_it() -> None:
    for parts in (PARTS, PAGE):
        for name in (part for part in parts if part.endswith(".js")):
            imported = re.findall(r'from "\./([^"]+)"', page_content(name).decode())
            assert set(imported) <= parts, name
