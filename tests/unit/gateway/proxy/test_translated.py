"""A whole exchange between two formats, before and after its first byte."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.providers import MAX_REPLY_BYTES
from tests.unit.gateway.conftest import (
    DELTA,
    END,
    START,
    Connection,
    KeepingBus,
    Running,
    Start,
    frame,
)
from tests.unit.gateway.proxy.test_translation import BLOCK

OVERLOADED = frame(
    "error", '{"type":"error","error":{"type":"overloaded_error","message":"Full."}}'
)
CHAT = {"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}


async def chat(running: Running, **more: object) -> bytes:
    response = await running.post("/api/v1/chat/completions", json=CHAT | more)
    assert response.status_code == 200, response.text
    return response.content


def streaming(*pieces: bytes, then: bytes = b"0\r\n\r\n") -> object:
    async def script(connection: Connection) -> None:
        await connection.start_stream()
        for piece in pieces:
            await connection.send_chunk(piece)
        if then:
            await connection.send(then)
        else:
            connection.writer.close()

    return script


async def test_the_provider_is_asked_to_stream_and_a_whole_reply_is_folded(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(streaming(START + BLOCK, DELTA, DELTA + END))  # type: ignore[arg-type]
    reply = orjson.loads(await chat(running))
    assert reply["choices"][0]["message"]["content"] == "aa"
    sent = orjson.loads(running.provider.received[0].body)
    assert (sent["stream"], sent["model"]) == (True, "claude-x")
    [record] = await running.bus.records(1)
    assert (record.client_format, record.provider, record.tokens_output) == (
        "openai_chat",
        "claude",
        7,
    )


async def test_the_first_piece_leaves_before_the_second_exists(start_gateway: Start) -> None:
    running = await start_gateway()
    seen = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        await seen.wait()
        await connection.send_chunk(BLOCK + DELTA + END)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    async with running.client.stream(
        "POST", "/api/v1/chat/completions", json=CHAT | {"stream": True}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = response.aiter_raw()
        assert b'"role":"assistant"' in await anext(chunks)
        seen.set()
        assert b"[DONE]" in b"".join([chunk async for chunk in chunks])


async def test_what_the_caller_said_of_itself_does_not_reach_a_provider_it_does_not_know(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(streaming(START + BLOCK + DELTA + END))  # type: ignore[arg-type]
    headers = {"user-agent": "OpenAI/1", "x-stainless-lang": "python", "anthropic-beta": "wanted"}
    await running.post("/api/v1/chat/completions", json=CHAT, headers=headers)
    sent = running.provider.received[0].headers
    assert sent["user-agent"].startswith("ccproxy/")
    assert "x-stainless-lang" not in sent
    assert sent["anthropic-beta"] == "wanted"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_comes_in_the_client_s_envelope_with_its_status_and_limits(
    start_gateway: Start, stream: bool
) -> None:
    running = await start_gateway()
    words = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}'
    running.provider.scripts.append(
        lambda connection: connection.answer(words, "429 No", b"retry-after: 4\r\n")
    )
    response = await running.post("/api/v1/chat/completions", json=CHAT | {"stream": stream})
    assert (response.status_code, response.headers["retry-after"]) == (429, "4")
    assert response.json()["error"]["message"] == "Slow down."
    assert response.headers["content-type"] == "application/json"
    [record] = await running.bus.records(1)
    assert (record.status_code, record.error_message) == (429, "Slow down.")


async def test_an_html_page_from_a_proxy_in_between_becomes_a_json_error(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(
        lambda connection: connection.answer(b"<html>blocked</html>", "403 No")
    )
    response = await running.post("/api/v1/chat/completions", json=CHAT)
    assert response.status_code == 403
    assert "<html>" not in response.json()["error"]["message"]


async def test_a_stream_cut_before_its_first_event_is_a_502(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(streaming(then=b""))  # type: ignore[arg-type]
    response = await running.post("/api/v1/chat/completions", json=CHAT | {"stream": True})
    assert response.status_code == 502


async def test_a_stream_cut_in_the_middle_ends_in_the_client_s_error(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(streaming(START + BLOCK + DELTA, then=b""))  # type: ignore[arg-type]
    received = await chat(running, stream=True)
    assert b'"error"' in received
    assert b"[DONE]" not in received


async def test_a_client_that_leaves_lets_the_provider_go(start_gateway: Start) -> None:
    running = await start_gateway()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START + BLOCK + DELTA)
        await asyncio.Event().wait()

    running.provider.scripts.append(script)
    async with running.client.stream(
        "POST", "/api/v1/chat/completions", json=CHAT | {"stream": True}
    ) as response:
        await anext(response.aiter_raw())
    await asyncio.wait_for(running.provider.received[0].closed.wait(), 5)


async def test_an_unusable_request_names_its_field_and_reaches_nobody(start_gateway: Start) -> None:
    running = await start_gateway()
    response = await running.post(
        "/api/v1/chat/completions", json={"model": "claude-x", "messages": 3}
    )
    assert response.status_code == 400
    assert "messages" in response.json()["error"]["message"]
    assert not running.provider.received


LONG = frame(
    "content_block_delta",
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
    + "a" * 12_000_000
    + '"}}',
)


async def test_a_text_without_end_is_a_bad_gateway(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(streaming(START + BLOCK, *[LONG] * 6, END))  # type: ignore[arg-type]
    response = await running.post("/api/v1/chat/completions", json=CHAT, timeout=60)
    assert response.status_code == 502
    assert "larger than" in response.json()["error"]["message"]


async def test_a_refusal_without_end_is_a_bad_gateway(start_gateway: Start) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.answer(b"x" * (MAX_REPLY_BYTES + 1), "400 Bad Request")

    running = await start_gateway()
    for path in ("/api/v1/chat/completions", "/api/v1/messages"):
        running.provider.scripts.append(refuse)
        response = await running.post(path, json=CHAT, timeout=60)
        assert response.status_code == 502, path
        assert "larger than" in response.json()["error"]["message"]


async def test_a_failure_after_a_ping_is_the_last_event_of_a_translated_stream(
    start_gateway: Start,
) -> None:
    running = await start_gateway(server={"ping_interval_seconds": 0.05})
    pinged = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START[:30])
        await pinged.wait()
        await connection.send_chunk(START[30:] + OVERLOADED)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    received = b""
    async with running.client.stream(
        "POST", "/api/v1/chat/completions", json=CHAT | {"stream": True}
    ) as reply:
        assert reply.status_code == 200
        async for chunk in reply.aiter_raw():
            received += chunk
            pinged.set()
    assert received.startswith(b": keep-alive\n\n")
    assert b'"role":"assistant"' in received
    assert received.count(b'"Full."') == 1
    assert b"[DONE]" not in received
    [record] = await running.bus.records(1)
    assert (record.status_code, record.error_message) == (200, "Full.")


class ConnectedBus(KeepingBus):
    """A bus that is there, so that responses can be stored."""

    connected = True


async def test_a_failure_in_mid_stream_ends_a_stored_response_with_the_providers_words(
    start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    running = await start_gateway(bus=ConnectedBus())
    begun = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START + BLOCK + DELTA)
        await begun.wait()
        await connection.send_chunk(OVERLOADED)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    received = b""
    async with running.client.stream(
        "POST", "/api/v1/responses", json={"model": "claude-x", "input": "hi", "stream": True}
    ) as reply:
        async for chunk in reply.aiter_raw():
            received += chunk
            begun.set()
    assert b'"store":true' in received
    assert received.count(b"event: response.failed") == 1
    assert b"Full." in received
    assert b"response.completed" not in received
    assert "stream_failed" not in [line.getMessage() for line in caplog.records]
