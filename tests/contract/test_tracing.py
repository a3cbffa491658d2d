"""One trace through the caller, the gateway, the bus and the worker that runs the turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from shared.bus import Bus
from shared.bus.channels import SDK_TURN
from shared.bus.serving import serve_each
from shared.runtime.tracing import open_tracer
from shared.settings.tree import Settings, load_settings
from tests.conftest import BusFactory
from tests.support.collector import Collector
from tests.support.sdk_stack import body
from tests.support.simulator_fixture import API_KEY
from tests.unit.gateway.conftest import serve
from tests.unit.sdk_worker.test_worker import END, RESULT, START, House

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@contextlib.asynccontextmanager
async def worker_on(bus: Bus, settings: Settings) -> AsyncIterator[None]:
    traced, stop = (
        open_tracer(settings.observability, service="sdk_worker", instance="w1"),
        asyncio.Event(),
    )
    async with traced as tracer, asyncio.TaskGroup() as tasks:
        house = House(START, END, RESULT, tracer=tracer)
        tasks.create_task(serve_each(bus, SDK_TURN, house.worker.handle, slots=1, stop=stop))
        yield
        stop.set()


async def test_a_turn_of_sdk_is_one_trace_through_gateway_bus_and_worker(
    simulator_url: str, bus_factory: BusFactory
) -> None:
    with Collector() as collector:
        observed = {"otlp_endpoint": collector.url}
        settings = load_settings(
            claude={"base_url": simulator_url, "api_key": API_KEY}, observability=observed
        )
        bus: Any = await bus_factory()
        async with (
            worker_on(await bus_factory("sdk_worker"), settings),
            serve(settings, bus, None) as running,  # type: ignore[arg-type]
        ):
            answer = await running.post(
                "/sdk/v1/messages", json=body("hi"), headers={"traceparent": PARENT}
            )
            assert answer.status_code == 200
    request = collector.one("POST /sdk/v1/messages")
    call, turn = collector.one(f"chat {body('')['model']}"), collector.one("invoke_agent claude")
    assert {told.span.trace_id.hex() for told in (request, call, turn)} == {"a" * 32}
    assert call.span.parent_span_id == request.span.span_id
    assert turn.span.parent_span_id == call.span.span_id
    assert (request.service, turn.service) == ("ccproxy-gateway", "ccproxy-sdk_worker")
    assert request.attributes["ccproxy.request_id"] == turn.attributes["ccproxy.request_id"]
    assert turn.attributes["ccproxy.turns"] == 1
