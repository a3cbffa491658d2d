"""Waiting requests through a whole gateway: places at a provider, and holds of a moment."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import orjson
import pytest

from tests.unit.gateway.conftest import DELTA, END, START, Connection, Running, Start, frame

BODY = {"model": "claude-x", "messages": []}
MESSAGE = b'{"type":"message","usage":{"input_tokens":1,"output_tokens":2}}'
BLOCK = frame(
    "content_block_start",
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
)
STOP = frame("content_block_stop", '{"type":"content_block_stop","index":0}')
PIECES = (START, BLOCK, DELTA, STOP, END)
HELD = {"x-ccproxy-hold": "until-reset"}


class Gate:
    """Answers of a provider that wait until the test opens them."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def whole(self, connection: Connection) -> None:
        self.reached.set()
        await self.open.wait()
        await connection.answer(MESSAGE)


async def whole(connection: Connection) -> None:
    await connection.answer(MESSAGE)


async def streamed(connection: Connection) -> None:
    await connection.start_stream()
    for piece in PIECES:
        await connection.send_chunk(piece)
    await connection.send(b"0\r\n\r\n")


async def used_up(connection: Connection, seconds: float = 1.0) -> None:
    reset = f"{time.time() + seconds:.0f}".encode()
    told = b"".join(
        b"anthropic-ratelimit-unified-%s: %s\r\n" % (name, value)
        for name, value in (
            (b"status", b"rejected"),
            (b"5h-status", b"rejected"),
            (b"5h-utilization", b"1.0"),
            (b"5h-reset", reset),
        )
    )
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"used up"}}'
    await connection.answer(body, "429 Too Many Requests", told)


async def used_up_for_an_hour(connection: Connection) -> None:
    await used_up(connection, 3600)


async def waiting_in(running: Running, count: int) -> list[dict[str, Any]]:
    """Return the waiting requests once there are `count`."""
    async with asyncio.timeout(10):
        while True:
            found = (await running.client.get("/usage/waiting")).json()["requests"]
            if len(found) == count:
                return list(found)


def metric(running: Running, name: str, provider: str = "claude", **labels: str) -> float:
    values = labels | {"provider": provider}
    return running.gateway.metrics.registry.get_sample_value(name, values) or 0.0


async def test_without_a_queue_and_a_wish_a_refusal_passes_and_nothing_waits(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up_for_an_hour]
    response = await running.post()
    assert response.status_code == 429
    assert "x-ccproxy-not-held" not in response.headers
    assert await waiting_in(running, 0) == []


async def test_a_request_over_the_limit_waits_for_a_place_and_is_shown(
    start_gateway: Start,
) -> None:
    running = await start_gateway(queue={"claude_at_once": 1})
    gate = Gate()
    running.provider.scripts += [gate.whole, whole]
    first = asyncio.create_task(running.post())
    await gate.reached.wait()
    second = asyncio.create_task(running.post(headers={"x-app": "cli-bg"}))
    (shown,) = await waiting_in(running, 1)
    assert (shown["waits_for"], shown["priority"]) == ("place", "background")
    assert (shown["provider"], shown["model"], shown["until"]) == ("claude", "claude-x", None)
    assert metric(running, "ccproxy_provider_queue_waiting") == 1
    assert len(running.provider.received) == 1
    gate.open.set()
    assert [(await each).status_code for each in (first, second)] == [200, 200]
    assert metric(running, "ccproxy_provider_queue_waiting") == 0
    assert metric(running, "ccproxy_provider_queue_wait_seconds_count") == 1
    assert await waiting_in(running, 0) == []


async def test_health_counts_the_requests_that_wait_by_what_they_wait_for(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    assert "waiting_requests" not in (await running.client.get("/health")).json()["checks"]
    running.provider.scripts += [used_up_for_an_hour] * 2
    held = [asyncio.create_task(running.post(headers=HELD)) for _ in range(2)]
    await waiting_in(running, 2)
    (check,) = (await running.client.get("/health")).json()["checks"]["waiting_requests"]
    assert (check["status"], check["count"]) == ("pass", 2)
    assert check["output"].startswith("2 wait until 20")
    assert check["output"].endswith(" for the 5-hour window of claude.")
    running.gateway.active_requests.end_holds()
    assert [(await each).status_code for each in held] == [503, 503]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/messages", "rate_limit_error"),
        ("/api/v1/chat/completions", "rate_limit_exceeded"),
    ],
)
async def test_a_full_queue_refuses_in_the_routes_dialect_with_a_time_to_come_back(
    start_gateway: Start, path: str, kind: str
) -> None:
    running = await start_gateway(queue={"claude_at_once": 1, "max_waiting": 0})
    gate = Gate()
    running.provider.scripts += [gate.whole]
    first = asyncio.create_task(running.post())
    await gate.reached.wait()
    body = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}
    refused = await running.post(path, json=body)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert kind in refused.text
    assert metric(running, "ccproxy_provider_queue_refused_total") == 1
    gate.open.set()
    await first


async def test_every_end_of_a_request_frees_its_place(start_gateway: Start) -> None:
    """A whole reply, a stream, a refusal, a cut stream, and a client that leaves."""
    running = await start_gateway(queue={"claude_at_once": 1})

    async def cut(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        connection.writer.close()

    async def refused(connection: Connection) -> None:
        await connection.answer(b'{"type":"error"}', "400 Bad Request")

    async def endless(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        await asyncio.Event().wait()

    chat = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    running.provider.scripts += [whole, streamed, refused, cut, streamed, refused, endless, whole]
    assert (await running.post()).status_code == 200
    assert (await running.post(json=BODY | {"stream": True})).status_code == 200
    assert (await running.post()).status_code == 400
    assert "error" in (await running.post(json=BODY | {"stream": True})).text
    assert (await running.post("/api/v1/chat/completions", json=chat)).status_code == 200
    assert (await running.post("/api/v1/chat/completions", json=chat)).status_code == 400
    async with running.client.stream(
        "POST", "/api/v1/messages", json=BODY | {"stream": True}
    ) as left:
        await anext(left.aiter_raw())
    # The last one gets the place of the one that left.
    assert (await running.post()).status_code == 200


async def test_a_provider_that_cannot_be_reached_frees_the_place(start_gateway: Start) -> None:
    running = await start_gateway(
        queue={"claude_at_once": 1, "max_waiting": 0}, claude={"base_url": "http://127.0.0.1:9"}
    )
    for _ in range(3):
        assert (await running.post()).status_code == 502


async def test_a_whole_request_is_held_for_a_moment_and_answered(start_gateway: Start) -> None:
    running = await start_gateway(claude={"api_key": None, "oauth_token": "sk-ant-oat01-owner"})
    running.provider.scripts += [used_up, whole]
    response = await running.post(headers=HELD)
    assert response.content == MESSAGE
    first, second = running.provider.received
    assert first.body == second.body
    assert "x-ccproxy-hold" not in second.headers
    assert metric(running, "ccproxy_holds_total", outcome="sent") == 1


async def test_a_held_stream_begins_with_a_ping_and_goes_on_with_the_providers_bytes(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up, streamed]
    async with running.client.stream(
        "POST", "/api/v1/messages", json=BODY | {"stream": True}, headers=HELD
    ) as response:
        assert response.status_code == 200
        assert response.headers["x-ccproxy-held-until"]
        chunks = response.aiter_raw()
        assert await anext(chunks) == b'event: ping\ndata: {"type": "ping"}\n\n'
        rest = b"".join([chunk async for chunk in chunks])
    assert rest.endswith(b"".join(PIECES))


async def test_a_held_chat_stream_begins_with_a_comment(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up, streamed]
    chat = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with running.client.stream(
        "POST", "/api/v1/chat/completions", json=chat, headers=HELD
    ) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b": keep-alive\n\n"
        rest = b"".join([chunk async for chunk in chunks])
    assert rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/messages", b"overloaded_error"),
        ("/api/v1/chat/completions", b"send it again"),
        ("/api/v1/responses", b"send it again"),
    ],
)
async def test_a_held_stream_ends_with_an_error_of_its_dialect_when_the_gateway_stops(
    start_gateway: Start, path: str, kind: bytes
) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up_for_an_hour]
    body: dict[str, Any] = {"model": "claude-x", "stream": True}
    said = [{"role": "user", "content": "hi"}]
    body |= {"input": "hi"} if path.endswith("responses") else {"messages": said}
    async with running.client.stream("POST", path, json=body, headers=HELD) as response:
        await waiting_in(running, 1)
        running.gateway.active_requests.end_holds()
        received = b"".join([chunk async for chunk in response.aiter_raw()])
    assert kind in received
    assert b"error" in received


async def test_a_held_whole_request_gets_503_and_a_time_when_the_gateway_stops(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up_for_an_hour]
    held = asyncio.create_task(running.post(headers=HELD))
    (shown,) = await waiting_in(running, 1)
    assert shown["limit"] == "the 5-hour window of claude"
    began = time.monotonic()
    await running.gateway.active_requests.stop(30)
    response = await held
    assert time.monotonic() - began < 15  # the grace is not for held requests
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert orjson.loads(response.content)["error"]["type"] == "overloaded_error"


async def test_a_client_that_leaves_ends_its_hold(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts += [used_up_for_an_hour]
    with pytest.raises(httpx.ReadTimeout):
        await running.post(headers=HELD, timeout=1.0)
    assert await waiting_in(running, 0) == []
    assert len(running.provider.received) == 1


async def test_a_wish_that_is_none_is_refused_with_examples(start_gateway: Start) -> None:
    running = await start_gateway()
    response = await running.post(headers={"x-ccproxy-hold": "forever"})
    assert response.status_code == 400
    assert "write until-reset, no, or the longest wait as 90s, 30m or 5h" in response.text


async def test_a_server_that_holds_no_request_passes_the_refusal_with_the_reason(
    start_gateway: Start,
) -> None:
    running = await start_gateway(quota={"max_held": 0})
    running.provider.scripts += [used_up_for_an_hour]
    response = await running.post(headers=HELD)
    assert response.headers["x-ccproxy-not-held"].endswith("(QUOTA__MAX_HELD)")
