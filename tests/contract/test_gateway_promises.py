"""Five ways in which a gateway can look right and be wrong: streams, usage, cost, isolation,
errors. One test each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from shared.accounts.prices import Prices
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import unpack
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

ROUTES = {"/api/v1": ("claude-sonnet-5-5", "claude-sim-"), "/codex/v1": ("gpt-5.5", "gpt-sim-")}
# Dollars per million tokens of prompt and reply, from the providers' pages of prices.
RATES = {"/api/v1": (2, 10), "/codex/v1": (5, 30)}
BOTH = pytest.mark.parametrize("route", ROUTES)
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
AT_ONCE = 8


@pytest.fixture
async def gateway_url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))


@pytest.fixture
async def clients(gateway_url: str) -> AsyncIterator[dict[str, openai.AsyncOpenAI]]:
    opened = {
        route: openai.AsyncOpenAI(base_url=gateway_url + route, api_key="unused", max_retries=0)
        for route in ROUTES
    }
    yield opened
    for client in opened.values():
        await client.close()


async def streamed(client: openai.AsyncOpenAI, model: str, prompt: str) -> tuple[str, Any]:
    """Return the text and the usage of one streamed chat."""
    asked: Any = {"model": model, "messages": [{"role": "user", "content": prompt}], **STREAMED}
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return text, chunks[-1].usage


@BOTH
async def test_a_stream_arrives_whole_and_in_order(
    clients: dict[str, openai.AsyncOpenAI], route: str
) -> None:
    wanted = " ".join(f"word-{number}" for number in range(300))
    text, _ = await streamed(clients[route], ROUTES[route][0], f"[[say:{wanted}]]")
    assert text == wanted


@BOTH
async def test_usage_is_the_providers_own_whole_and_streamed(
    clients: dict[str, openai.AsyncOpenAI], simulator: GroundTruth, route: str
) -> None:
    model = ROUTES[route][0]
    prompt = "[[say:one two three]] count"
    whole = await clients[route].chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}]
    )
    _, usage = await streamed(clients[route], model, prompt)
    told = [seen.usage for seen in simulator.requests() if seen.method == "POST"]
    assert len(told) == 2
    for found, true in zip((whole.usage, usage), told, strict=True):
        assert found is not None
        assert (found.prompt_tokens, found.completion_tokens) == (
            true["input_tokens"],
            true["output_tokens"],
        )
        assert found.total_tokens == found.prompt_tokens + found.completion_tokens


@BOTH
async def test_cost_is_the_list_price_of_the_tokens_that_the_provider_counted(
    clients: dict[str, openai.AsyncOpenAI],
    simulator: GroundTruth,
    bus_factory: BusFactory,
    tmp_path: Path,
    route: str,
) -> None:
    model = ROUTES[route][0]
    records: list[AccessRecord] = []
    watching = await bus_factory("analytics")
    await streamed(clients[route], model, "[[say:one two three]] count")
    true = [seen.usage for seen in simulator.requests() if seen.method == "POST"][-1]
    async for delivery in watching.serve(ACCESS_RECORD, slots=1):
        await delivery.accept()
        records += unpack(delivery.payload)
        await delivery.finish()
        if records:
            break
    rate_in, rate_out = RATES[route]
    expected = (true["input_tokens"] * rate_in + true["output_tokens"] * rate_out) / 1_000_000
    assert expected > 0
    assert Prices(tmp_path / "price-list.json").cost(records[0]) == pytest.approx(expected)


@BOTH
async def test_streams_at_once_never_mix(
    clients: dict[str, openai.AsyncOpenAI], route: str
) -> None:
    model = ROUTES[route][0]
    wanted = [
        " ".join(f"stream-{number}-{word}" for word in range(40)) for number in range(AT_ONCE)
    ]
    found = await asyncio.gather(
        *(streamed(clients[route], model, f"[[say:{text}]]") for text in wanted)
    )
    assert [text for text, _ in found] == wanted


@BOTH
@pytest.mark.parametrize("fault", ["error", "cut"])
async def test_a_provider_that_fails_in_mid_stream_is_never_a_finished_answer(
    gateway_url: str, route: str, fault: str
) -> None:
    body = {
        "model": ROUTES[route][1] + fault,
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
    }
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False, timeout=20) as client:
        reply = await client.post(f"{route}/chat/completions", json=body)
    if (
        reply.status_code >= 400
    ):  # the failure was there before the first byte left, so it has a status of its own
        assert reply.json()["error"]["message"]
        return
    events = [
        line.removeprefix("data: ")
        for line in reply.text.splitlines()
        if line.startswith("data: {")
    ]
    shapes = [orjson.loads(event) for event in events]
    assert "error" in shapes[-1]
    assert not any(
        choice.get("finish_reason") for shape in shapes for choice in shape.get("choices", [])
    )
    assert "[DONE]" not in reply.text
