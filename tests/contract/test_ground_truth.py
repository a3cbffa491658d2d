"""What was counted equals what really happened: the simulator's own totals, in DuckDB and in the
metrics.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sdk_worker.claude.driver import drivers
from shared.bus.channels import SDK_TURN
from shared.bus.serving import serve_each
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.support.analytics_process import Analytics, eventually
from tests.support.codex import codex_settings
from tests.support.sdk_stack import MODEL, body, running_stack, worker_settings
from tests.support.simulator_fixture import GroundTruth

REQUESTS = int(os.environ.get("GROUND_TRUTH_REQUESTS", "320"))
AT_ONCE = 24
LONG_SYSTEM = [
    {
        "type": "text",
        "text": "Know this. " * 800,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
]


def messages(scenario: str, **more: Any) -> tuple[str, dict[str, Any]]:
    said = [{"role": "user", "content": "hello there"}]
    return "/api/v1/messages", {
        "model": f"claude-sim-{scenario}",
        "max_tokens": 500,
        "messages": said,
        **more,
    }


def chat(scenario: str, **more: Any) -> tuple[str, dict[str, Any]]:
    path, body = messages(scenario, **more)
    return path.replace("messages", "chat/completions"), body


def responses(scenario: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/api/v1/responses", {"model": f"claude-sim-{scenario}", "input": "hello there", **more}


def codex(scenario: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "/codex/responses", {"model": f"gpt-sim-{scenario}", "input": "hello there", **more}


def codex_chat(scenario: str, **more: Any) -> tuple[str, dict[str, Any]]:
    body = {
        "model": f"gpt-sim-{scenario}",
        "messages": [{"role": "user", "content": "hello there"}],
        **more,
    }
    return "/codex/v1/chat/completions", body


KINDS = [
    kind(scenario, stream=stream)
    for kind in (messages, chat, responses)
    for stream in (False, True)
    for scenario in ("text", "long-30", "thinking", "429-5", "529", "error", "cut")
]
KINDS += [messages("text", stream=stream, system=LONG_SYSTEM) for stream in (False, True)]
KINDS += [
    kind(scenario, stream=stream)
    for kind in (codex, codex_chat)
    for stream in (False, True)
    for scenario in ("text", "reasoning", "429", "failed", "cut")
]
SUMS = """count(*) AS requests, sum(tokens_input) AS input, sum(tokens_output) AS output,
    sum(cache_read_tokens) AS read, sum(cache_write_tokens) AS written, sum(cache_write_1h_tokens) AS hour"""
KINDS_OF_TOKENS = ("input", "output", "cache_read", "cache_write")
LEFT = [
    kind(scenario, stream=True)
    for kind in (messages, chat, codex)
    for scenario in ("slow-50", "hang")
]


async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> int:
    try:
        return (await client.post(path, json=body)).status_code
    except httpx.RemoteProtocolError:
        return 0


async def leave(
    client: httpx.AsyncClient, simulator: GroundTruth, path: str, body: dict[str, Any]
) -> None:
    """Go away in the middle of the answer, or before it began, once the provider is at
    work on it.
    """
    task = asyncio.create_task(read_first(client, path, body))
    if "slow" in body["model"]:
        await task
        return

    async def at_work() -> bool:
        last = simulator.last()
        return last.model == body["model"] and last.ended_after_ms is None

    await eventually(at_work)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def read_first(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    async with client.stream("POST", path, json=body) as answer:
        async for _ in answer.aiter_bytes():
            return


@pytest.fixture
async def client(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    limits = httpx.Limits(max_connections=AT_ONCE + 8)
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=60, limits=limits
    ) as opened:
        yield opened


@pytest.mark.timeout(240)
async def test_counters_equal_the_providers_own_totals(
    client: httpx.AsyncClient, simulator: GroundTruth, analytics: Analytics
) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with turns:
            return await ask(client, *KINDS[number % len(KINDS)])

    statuses = Counter(await asyncio.gather(*(one(number) for number in range(REQUESTS))))
    for path, said in LEFT:
        await leave(client, simulator, path, said)
    sent = REQUESTS + len(LEFT)
    await analytics.until(lambda status: status.get("rows", 0) >= sent)
    truth = simulator.totals()
    assert truth["cancelled"] == len(LEFT)
    models = {
        model: counts for model, counts in truth["by_model"].items() if counts.get("requests")
    }
    assert sum(counts["requests"] for counts in models.values()) == sent
    rows = await told(
        client, f"SELECT model, {SUMS} FROM requests WHERE provider <> '' GROUP BY model"
    )
    assert {row["model"]: row["requests"] for row in rows} == {
        model: counts["requests"] for model, counts in models.items()
    }
    for row in rows:
        assert_tokens(
            row["model"],
            models[row["model"]],
            row | {"cache_read": row["read"], "cache_write": row["written"]},
        )
        assert row["hour"] == (row["written"] if row["model"] == "claude-sim-text" else 0)
    ends = await told(
        client, "SELECT status_code, count(*) AS n FROM requests WHERE provider <> '' GROUP BY 1"
    )
    assert {row["status_code"]: row["n"] for row in ends} == {**statuses, 499: truth["cancelled"]}
    await assert_metrics(client, models, statuses)


async def told(client: httpx.AsyncClient, sql: str) -> list[dict[str, Any]]:
    answer = await client.get("/logs/query", params={"sql": sql})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


async def assert_metrics(
    client: httpx.AsyncClient, models: dict[str, Any], statuses: Counter[int]
) -> None:
    text = (await client.get("/metrics")).text
    requests, tokens = Counter[str](), Counter[tuple[str, str]]()
    by_status = Counter[str]()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (
                sample.name == "ccproxy_requests_total"
                and sample.labels["service_type"] != "gateway"
            ):
                requests[sample.labels["model"]] += int(sample.value)
                by_status[sample.labels["status"]] += int(sample.value)
            elif sample.name == "ccproxy_tokens_total":
                tokens[sample.labels["model"], sample.labels["type"]] += int(sample.value)
    assert sum(requests.values()) == sum(counts["requests"] for counts in models.values())
    assert all(by_status[str(status)] == count for status, count in statuses.items() if status)
    for model, counts in models.items():
        assert_tokens(model, counts, {kind: tokens[model, kind] for kind in KINDS_OF_TOKENS})


def assert_tokens(model: str, counts: dict[str, int], told: dict[str, int]) -> None:
    """OpenAI counts what came from the cache as input too; we, as Anthropic, beside it."""
    openai = model.startswith("gpt")
    assert told["input"] + (told["cache_read"] if openai else 0) == counts.get("input_tokens", 0), (
        model
    )
    assert told["output"] == counts.get("output_tokens", 0), model
    if not openai:
        assert told["cache_read"] == counts.get("cache_read_input_tokens", 0), model
        assert told["cache_write"] == counts.get("cache_creation_input_tokens", 0), model


TURNS = ["hello", "[[scenario:long-30]]", "[[scenario:thinking]]"]


@pytest.fixture
async def sdk_client(
    open_gateway_at: OpenGateway, bus_factory: BusFactory, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway whose `/sdk` has a worker with the real program."""
    bus, stop = await bus_factory("sdk_worker"), asyncio.Event()
    settings = worker_settings(simulator.url, tmp_path, pool_size=len(TURNS))
    async with running_stack(settings, drivers()[0]) as stack, asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve_each(bus, SDK_TURN, stack.worker().handle, slots=len(TURNS), stop=stop)
        )
        async with httpx.AsyncClient(
            base_url=await open_gateway_at(), trust_env=False, timeout=60
        ) as client:
            yield client
        stop.set()


@pytest.mark.claude
async def test_turns_of_sdk_are_counted_as_the_provider_counted_them(
    sdk_client: httpx.AsyncClient, simulator: GroundTruth, analytics: Analytics
) -> None:
    answers = await asyncio.gather(
        *(
            sdk_client.post("/sdk/v1/messages", json=body(said, stream=index > 0))
            for index, said in enumerate(TURNS)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * len(TURNS)
    await analytics.until(lambda status: status.get("rows", 0) >= len(TURNS))
    counts = simulator.totals()["by_model"][MODEL]
    assert counts["cache_creation_input_tokens"] > 0
    (row,) = await told(
        sdk_client, f"SELECT model, {SUMS} FROM requests WHERE provider = 'sdk' GROUP BY model"
    )
    assert row["requests"] == counts["requests"] == len(TURNS)
    assert_tokens(MODEL, counts, row | {"cache_read": row["read"], "cache_write": row["written"]})
    await assert_metrics(sdk_client, {row["model"]: counts}, Counter({200: len(TURNS)}))
