"""The simulator's application, called in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from simulator.app import Simulator
from tests.support.simulator_fixture import KEY_HEADERS


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Simulator())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://simulator", headers=KEY_HEADERS
    ) as client:
        yield client
