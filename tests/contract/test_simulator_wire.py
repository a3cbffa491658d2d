"""The simulator's process on the wire: exact bytes, faults, clients that leave, many streams at
once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.simulator_fixture import API_KEY, KEY_HEADERS, GroundTruth

MANY = 200


def body(scenario: str, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {
        "model": f"claude-sim-{scenario}",
        "max_tokens": 50_000,
        "messages": messages,
        **changes,
    }


@pytest.fixture
async def client(simulator_url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=simulator_url,
        headers=KEY_HEADERS,
        timeout=30,
        limits=limits,
        trust_env=False,
        verify=False,
    ) as client:
        yield client


async def test_bytes_and_headers_are_recorded_exactly(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    raw = (
        b'{"max_tokens":5,\n "model":"claude-sim-text",  '
        b'"messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}]}'
    )
    reply = await client.post(
        "/v1/messages?beta=true", content=raw, headers={"anthropic-beta": "pdfs-2024-09-25"}
    )
    seen = simulator.last("/v1/messages")
    assert seen.raw == raw
    assert seen.sent == reply.content
    assert (seen.header("anthropic-beta"), seen.header("x-api-key")) == (
        "pdfs-2024-09-25",
        f"…{API_KEY[-4:]}",
    )


async def test_the_bytes_of_a_stream_are_recorded_exactly(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    reply = await client.post("/v1/messages", json=body("big", stream=True))
    seen = simulator.last()
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (seen.sent, seen.sent_bytes) == (reply.content, len(reply.content))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_reply_is_seen_as_cut(client: httpx.AsyncClient, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/v1/messages", json=body("cut", stream=stream))


async def test_the_place_of_a_fault_can_be_chosen(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    reply = await client.post("/v1/messages", json=body("error-7", stream=True))
    assert reply.content.count(b"content_block_delta\n") == 7
    assert reply.content.endswith(b"\n\n")
    assert b"event: error\ndata: " in reply.content
    assert b"message_stop" not in reply.content
    assert simulator.last().usage["input_tokens"] > 0  # what the reply had told before it broke


async def test_a_failing_stream_fails_whole_as_a_status(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/messages", json=body("error"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize(
    ("scenario", "stream", "status"),
    [
        ("hang", True, None),
        ("hang", False, None),
        ("stall", True, 200),
        ("stall", False, 200),
        ("slow-1000", True, 200),
    ],
)
async def test_a_client_that_leaves_is_noticed(
    client: httpx.AsyncClient,
    simulator: GroundTruth,
    scenario: str,
    stream: bool,
    status: int | None,
) -> None:
    call = asyncio.create_task(client.post("/v1/messages", json=body(scenario, stream=stream)))
    running = await simulator.until(
        lambda requests: [
            seen for seen in requests if seen.status == status and (not status or seen.sent_bytes)
        ]
    )
    assert not running[0].cancelled
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    (seen,) = await simulator.until(lambda requests: [seen for seen in requests if seen.cancelled])
    assert seen.status == status
    assert seen.ended_after_ms is not None
    assert simulator.totals()["cancelled"] == 1


async def test_slow_replies_keep_their_pace(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    await client.post("/v1/messages", json=body("slow-10x20", stream=True))
    ended = simulator.last().ended_after_ms
    assert ended is not None
    assert ended >= 19 * 10


async def test_many_streams_run_beside_each_other(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    replies = await asyncio.gather(
        *(client.post("/v1/messages", json=body("slow-20x20", stream=True)) for _ in range(MANY))
    )
    assert all(reply.content.count(b"content_block_delta\n") == 20 for reply in replies)
    assert simulator.totals()["by_status"] == {"200": MANY}
    assert len({reply.headers["request-id"] for reply in replies}) == MANY
