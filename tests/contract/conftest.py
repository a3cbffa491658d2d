"""A gateway in this process, between the simulator and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from shared.settings.tree import load_settings
from tests.conftest import BusFactory
from tests.support.managed_house import House, running_house
from tests.support.simulator_fixture import API_KEY
from tests.unit.gateway.conftest import serve

OpenGateway = Callable[..., Awaitable[str]]


@pytest.fixture
async def open_gateway_at(
    simulator_url: str, bus_factory: BusFactory
) -> AsyncIterator[OpenGateway]:
    """`await open_gateway_at(models={...})`: the address of a gateway whose provider is the
    simulator.
    """
    async with AsyncExitStack() as opened:

        async def start(**overrides: Any) -> str:
            overrides["claude"] = {"base_url": simulator_url, "api_key": API_KEY} | overrides.get(
                "claude", {}
            )
            bus: Any = await bus_factory()
            running = await opened.enter_async_context(serve(load_settings(**overrides), bus, None))  # type: ignore[arg-type]
            return f"http://127.0.0.1:{running.port}"

        yield start


@pytest.fixture
async def gateway_url(open_gateway_at: OpenGateway) -> str:
    return await open_gateway_at()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    simulator_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    async with running_house(simulator_url, tmp_path_factory) as running:
        yield running
