"""The running stack as its clients meet it: exact bytes, real programs, and a crash of anything
behind it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anthropic
import httpx
import orjson
import pytest

from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, clean_environment, until

MODEL = "claude-sonnet-5-5"
HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
WEATHER: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def truth(stack: Stack) -> Iterator[GroundTruth]:
    found = GroundTruth(stack.simulator_url)
    yield found
    found.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=stack.url, timeout=60, limits=limits, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=f"{stack.url}/api", api_key="unused", max_retries=0
    ) as opened:
        yield opened


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


unique = itertools.count()


def marked() -> str:
    return f"SECRET-{os.getpid()}-{next(unique)}"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_provider_got_and_sent_is_what_the_client_sent_and_got(
    http: httpx.AsyncClient, truth: GroundTruth, stream: bool
) -> None:
    mark = marked()
    body = (
        b'{"stream" :%s,\n "max_tokens":64 ,"messages":[{"role":"user","content":"h\\u00e9 '
        b'\xc3\xa9 %s"}],"model":"%s"}'
    )
    sent = body % (b"true" if stream else b"false", mark.encode(), MODEL.encode())
    reply = await http.post("/api/v1/messages?beta=true", content=sent, headers=HEADERS)
    assert reply.status_code == 200, reply.text
    [seen] = [request for request in truth.requests("/v1/messages") if mark.encode() in request.raw]
    assert seen.raw == sent
    assert seen.path.endswith("?beta=true") or seen.path == "/v1/messages"
    assert seen.sent == reply.content
    assert mark.encode() in reply.content


async def test_the_official_client_streams_calls_tools_and_counts(
    client: anthropic.AsyncAnthropic,
) -> None:
    async with client.messages.stream(**ask("[[say:one two three]]")) as stream:
        assert await stream.get_final_text() == "one two three"
    first = await client.messages.create(**ask('[[tool:weather {"city":"Bern"}]]'), tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns: Any = [
        {"role": "user", "content": '[[tool:weather {"city":"Bern"}]]'},
        {
            "role": "assistant",
            "content": [block.model_dump(exclude_none=True) for block in first.content],
        },
        {"role": "user", "content": [result]},
    ]
    second = await client.messages.create(
        model=MODEL, max_tokens=64, messages=turns, tools=[WEATHER]
    )
    assert any(block.type == "text" and "sunny" in block.text for block in second.content)
    counted = await client.messages.count_tokens(model=MODEL, messages=turns, tools=[WEATHER])
    assert counted.input_tokens > 0


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("429-3", anthropic.RateLimitError),
        ("529", anthropic.InternalServerError),
        ("404", anthropic.NotFoundError),
    ],
)
async def test_refusals_reach_the_official_client_as_what_they_are(
    client: anthropic.AsyncAnthropic, scenario: str, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error) as refused:
        await client.messages.create(
            model=f"claude-sim-{scenario}", max_tokens=9, messages=ask("hi")["messages"]
        )
    assert refused.value.status_code == int(scenario.partition("-")[0])


async def test_the_sdk_answers_the_official_client_streamed_and_whole(stack: Stack) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0
    ) as client:
        whole = await client.messages.create(**ask("[[say:from a worker]]"))
        assert [block.text for block in whole.content if block.type == "text"] == ["from a worker"]
        async with client.messages.stream(**ask("[[say:piece by piece]]")) as stream:
            assert await stream.get_final_text() == "piece by piece"


def claude_program() -> Path:
    spec = find_spec("claude_agent_sdk")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_bundled/claude"


@pytest.mark.claude
def test_the_real_claude_code_works_through_the_gateway(stack: Stack, tmp_path: Path) -> None:
    """A prompt that makes it run a tool: two requests, and a file to show for it."""
    environment = clean_environment(tmp_path) | QUIET
    environment |= {
        "ANTHROPIC_BASE_URL": f"{stack.url}/api",
        "ANTHROPIC_API_KEY": "unused",
        "IS_SANDBOX": "1",
    }
    prompt = '[[tool:Bash {"command":"echo made > proof.txt"}]]'
    command = [str(claude_program()), "-p", "--permission-mode", "bypassPermissions", prompt]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "proof.txt").read_text() == "made\n"


async def records(http: httpx.AsyncClient, agent: str) -> list[dict[str, Any]]:
    """Those of requests made under this user agent."""
    found = (await http.get("/logs/query?limit=10000")).json().get("results", [])
    return [row for row in found if row["user_agent"] == agent]


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    late = time.monotonic() + 40
    while not (found := await condition()):
        assert time.monotonic() < late, what
        await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize("service", ["analytics", "redis", "permission_service", "sdk_worker"])
async def test_a_crash_behind_the_gateway_is_not_noticed_by_api_and_loses_no_record(
    stack: Stack, http: httpx.AsyncClient, service: str
) -> None:
    agent = f"crash-of-{service}"
    headers = HEADERS | {"user-agent": agent}
    sent = 0

    async def one() -> int:
        reply = await http.post(
            "/api/v1/messages", content=orjson.dumps(ask("hi")), headers=headers
        )
        return reply.status_code

    for burst in range(10):
        if burst == 3:
            old = stack.kill(service)
        statuses = await asyncio.gather(*(one() for _ in range(10)))
        assert set(statuses) == {200}
        sent += len(statuses)
    stack.wait_replaced(service, old)
    async with asyncio.timeout(40):
        while True:
            try:
                rows = await records(http, agent)
            except (KeyError, httpx.HTTPError):
                rows = []
            if len(rows) >= sent:
                break
            await asyncio.sleep(0.1)
    assert len(rows) == sent
    assert len({row["request_id"] for row in rows}) == sent


async def test_open_streams_end_with_a_typed_error_when_the_stack_stops(
    start_stack: Callable[..., Stack],
) -> None:
    stack = start_stack(SDK__WORKERS="0").wait_ready()
    request = orjson.dumps(ask("hi", stream=True, model="claude-sim-slow-500x500"))
    begun = asyncio.Semaphore(0)

    async def one(client: httpx.AsyncClient) -> bytes:
        received, counted = b"", False
        async with client.stream(
            "POST", "/api/v1/messages", content=request, headers=HEADERS
        ) as reply:
            async for chunk in reply.aiter_raw():
                received += chunk
                if not counted and received.count(b"event:") > 2:
                    counted = True
                    begun.release()
        return received

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=stack.url, timeout=60, limits=limits, trust_env=False
    ) as client:
        streams = [asyncio.create_task(one(client)) for _ in range(50)]
        for _ in range(50):
            await begun.acquire()
        stack.process.send_signal(signal.SIGINT)
        for received in await asyncio.gather(*streams):
            last = received.rstrip(b"\n").rpartition(b"\n\n")[2]
            assert last.startswith(b"event: error\ndata: ")
            assert b"shutting down" in last
    assert stack.process.wait(40) == 0
    until(lambda: not stack.processes(), "the end of every process")


async def test_the_metrics_count_what_was_asked(stack: Stack, http: httpx.AsyncClient) -> None:
    model = "claude-opus-5-5"

    async def counted() -> float:
        text = (await http.get("/metrics")).text
        lines = [
            line
            for line in text.splitlines()
            if line.startswith("ccproxy_requests_total") and model in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = await counted()
    for _ in range(5):
        await http.post(
            "/api/v1/messages", content=orjson.dumps(ask("hi", model=model)), headers=HEADERS
        )
    assert await counted() - before == 5
