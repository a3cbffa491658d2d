"""The official client at the simulated Responses services, and what only a socket shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.support.simulator_fixture import CHATGPT_HEADERS, OPENAI_KEY, GroundTruth
from tests.unit.simulator.codex.conftest import backend_body


@pytest.fixture
async def client(simulator: GroundTruth) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{simulator.url}/v1", api_key=OPENAI_KEY, max_retries=0
    ) as client:
        yield client


async def test_whole_and_streamed_are_the_same(client: AsyncOpenAI) -> None:
    ask: Any = {
        "model": "gpt-sim-reasoning",
        "input": "hi",
        "include": ["reasoning.encrypted_content"],
    }
    whole = await client.responses.create(**ask)
    async with client.responses.stream(**ask) as stream:
        streamed = await stream.get_final_response()
    assert whole.output_text == streamed.output_text == "You said: hi"
    assert (
        [item.type for item in whole.output]
        == [item.type for item in streamed.output]
        == ["reasoning", "message"]
    )


async def test_the_models_are_listed(client: AsyncOpenAI) -> None:
    assert "gpt-5.5" in {model.id async for model in client.models.list()}


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("401", openai.AuthenticationError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
    ],
)
async def test_statuses_become_the_clients_errors(
    client: AsyncOpenAI, scenario: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await client.responses.create(model=f"gpt-sim-{scenario}", input="hi")


async def test_a_cut_stream_is_a_dropped_connection(simulator: GroundTruth) -> None:
    async with httpx.AsyncClient(
        base_url=simulator.url, headers=CHATGPT_HEADERS, verify=False
    ) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/backend-api/codex/responses", json=backend_body("[[scenario:cut]]"))


async def test_the_ledger_knows_model_usage_and_departure(simulator: GroundTruth) -> None:
    async with httpx.AsyncClient(
        base_url=simulator.url, headers=CHATGPT_HEADERS, verify=False
    ) as client:
        await client.post("/backend-api/codex/responses", json=backend_body())
        body = backend_body("[[scenario:stall]]")
        async with client.stream("POST", "/backend-api/codex/responses", json=body) as reply:
            await anext(reply.aiter_bytes())
    seen = await simulator.until(lambda requests: [one for one in requests if one.cancelled])
    assert [one.model for one in simulator.requests()] == ["gpt-5.5", "gpt-5.5"]
    assert simulator.requests()[0].usage["output_tokens"] > 0
    assert len(seen) == 1
