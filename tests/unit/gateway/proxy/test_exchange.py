"""One request through a whole gateway: bytes, statuses, and what happens when either
side leaves.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from tests.unit.gateway.conftest import DELTA, END, START, Connection, Running, Start

BODY = (
    b'{ "model": "claude-x",\n "messages": [{"role":"user","content":"h\xc3\xa9"}] , "stream": '
    b"true}"
)
JSON = {"content-type": "application/json"}


async def stream_everything(connection: Connection) -> None:
    await connection.start_stream()
    for piece in (START, DELTA, END):
        await connection.send_chunk(piece)
    await connection.send(b"0\r\n\r\n")


def read(response: Any) -> dict[str, Any]:
    shape: dict[str, Any] = orjson.loads(response.content)
    return shape


async def test_the_bytes_of_a_whole_request_and_its_reply_are_untouched(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    reply = b'{"type":"message", "usage" : {"input_tokens":1}}   '
    running.provider.scripts.append(
        lambda connection: connection.answer(reply, headers=b"request-id: req_9\r\n")
    )
    response = await running.post(
        "/api/v1/messages?beta=true", json=None, content=BODY, headers=JSON
    )
    assert response.content == reply
    assert response.headers["request-id"] == "req_9"
    [received] = running.provider.received
    assert received.body == BODY
    assert received.head.startswith(b"POST /v1/messages?beta=true HTTP/1.1")


async def test_the_bytes_of_a_stream_are_untouched(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(stream_everything)
    response = await running.post(json=None, content=BODY, headers=JSON)
    assert response.content == START + DELTA + END
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"


async def test_the_first_event_leaves_before_the_second_exists(start_gateway: Start) -> None:
    running = await start_gateway()
    seen = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        await seen.wait()
        await connection.send_chunk(END)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    async with running.client.stream(
        "POST", "/api/v1/messages", content=BODY, headers=JSON
    ) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == START
        seen.set()
        assert b"".join([chunk async for chunk in chunks]) == END


async def test_the_owner_s_key_replaces_the_caller_s_and_no_cookie_comes_back(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(stream_everything)
    response = await running.post(
        headers={"x-api-key": "callers", "anthropic-beta": "b1", "user-agent": "tool/1"}
    )
    sent = running.provider.received[0].headers
    assert sent["x-api-key"] == "sk-owner"
    assert "authorization" not in sent
    assert (sent["anthropic-beta"], sent["user-agent"], sent["anthropic-version"]) == (
        "b1",
        "tool/1",
        "2023-06-01",
    )
    assert "set-cookie" not in response.headers


async def test_a_refusal_of_the_provider_keeps_its_status_words_and_limits(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    words = (
        b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow '
        b'down."},"request_id":"r"}'
    )
    limits = b"retry-after: 7\r\nanthropic-ratelimit-requests-limit: 50\r\n"
    running.provider.scripts.append(
        lambda connection: connection.answer(words, "429 Too Many", limits)
    )
    response = await running.post()
    assert (response.status_code, response.content) == (429, words)
    assert response.headers["retry-after"] == "7"
    assert response.headers["anthropic-ratelimit-requests-limit"] == "50"
    [record] = await running.bus.records(1)
    assert (record.status_code, record.error_kind, record.error_message) == (
        429,
        "rate_limit_error",
        "Slow down.",
    )


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "is empty"),
        (b"{nope", 400, "is not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b"{}", 400, "model: this field is required"),
        (b'{"model": 3}', 400, "model: must be a non-empty string"),
        (b'{"model":"x","pad":"' + b"x" * 2000 + b'"}', 413, "this server accepts 1,024"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_in_the_client_s_dialect(
    start_gateway: Start, body: bytes, status: int, words: str
) -> None:
    running = await start_gateway(server={"max_body_bytes": 1024})
    response = await running.post(json=None, content=body, headers=JSON)
    assert response.status_code == status
    error = read(response)
    assert error["type"] == "error"
    assert words in error["error"]["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert not running.provider.received


async def test_without_credentials_the_answer_names_the_command_to_run(
    start_gateway: Start, tmp_path: Any
) -> None:
    nothing = {"api_key": None, "credentials_file": str(tmp_path / "none.json")}
    running = await start_gateway(claude=nothing)
    response = await running.post()
    assert response.status_code == 401
    assert "ccproxy auth login" in read(response)["error"]["message"]


async def test_an_unreachable_provider_is_a_502_that_names_it(start_gateway: Start) -> None:
    running = await start_gateway(claude={"base_url": "http://127.0.0.1:9"})
    response = await running.post()
    assert response.status_code == 502
    assert read(response)["error"]["type"] == "api_error"
    assert "127.0.0.1 could not be reached" in read(response)["error"]["message"]


async def test_a_stream_that_is_cut_ends_with_a_typed_error(start_gateway: Start) -> None:
    running = await start_gateway()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START + DELTA[:20])
        connection.writer.close()

    running.provider.scripts.append(script)
    response = await running.post(json=None, content=BODY, headers=JSON)
    assert response.content.startswith(START + b"event: error\ndata: ")
    error = orjson.loads(response.content.rpartition(b"data: ")[2])
    assert error["error"]["type"] == "api_error"
    [record] = await running.bus.records(1)
    assert record.error_kind == "upstream"


async def test_a_stream_that_ends_without_its_last_event_is_not_shown_as_success(
    start_gateway: Start,
) -> None:
    running = await start_gateway()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    response = await running.post(json=None, content=BODY, headers=JSON)
    assert b"event: error" in response.content


async def test_a_whole_reply_that_is_cut_is_a_502(start_gateway: Start) -> None:
    running = await start_gateway()

    async def script(connection: Connection) -> None:
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
        connection.writer.close()

    running.provider.scripts.append(script)
    response = await running.post()
    assert response.status_code == 502
    assert "was cut" in read(response)["error"]["message"]


async def leave(running: Running, when: asyncio.Event) -> None:
    """Send a request on a bare connection and hang up once `when` is set."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    del reader
    head = (
        b"POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    )
    writer.write(head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    await when.wait()
    writer.close()


@pytest.mark.parametrize("phase", ["before the first byte", "in mid-stream"])
async def test_when_the_client_leaves_the_provider_is_let_go_at_once(
    start_gateway: Start, phase: str
) -> None:
    running = await start_gateway()
    reached = asyncio.Event()

    async def script(connection: Connection) -> None:
        if phase == "in mid-stream":
            await connection.start_stream()
            await connection.send_chunk(START)
        reached.set()
        await asyncio.Event().wait()

    running.provider.scripts.append(script)
    await leave(running, reached)
    await asyncio.wait_for(running.provider.received[0].closed.wait(), 5)
    [record] = await running.bus.records(1)
    assert (record.status_code, record.error_kind) == (499, "cancelled")


async def test_a_silent_stream_gets_pings_between_its_events(start_gateway: Start) -> None:
    running = await start_gateway(server={"ping_interval_seconds": 0.1})
    pinged = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START + DELTA[:10])
        await pinged.wait()
        await connection.send_chunk(DELTA[10:] + END)
        await connection.send(b"0\r\n\r\n")

    running.provider.scripts.append(script)
    received = b""
    async with running.client.stream(
        "POST", "/api/v1/messages", content=BODY, headers=JSON
    ) as response:
        async for chunk in response.aiter_raw():
            received += chunk
            if b"event: ping" in received:
                pinged.set()
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    assert received.replace(ping, b"") == START + DELTA + END


async def test_a_body_that_does_not_come_is_given_up(start_gateway: Start) -> None:
    running = await start_gateway(server={"body_timeout_seconds": 0.1})
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = (
        b"POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    )
    writer.write(head + b"content-length: 100\r\n\r\n{")
    assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


@pytest.mark.parametrize("setting", ["first_byte_timeout_seconds", "idle_timeout_seconds"])
async def test_a_provider_that_falls_silent_is_given_up(start_gateway: Start, setting: str) -> None:
    running = await start_gateway(server={setting: 0.2})

    async def script(connection: Connection) -> None:
        if setting.startswith("idle"):
            await connection.start_stream()
            await connection.send_chunk(START)
        await asyncio.Event().wait()

    running.provider.scripts.append(script)
    response = await running.post(json=None, content=BODY, headers=JSON)
    assert response.status_code == (200 if setting.startswith("idle") else 504)
    assert b'"timeout_error"' in response.content


async def test_at_shutdown_open_streams_end_with_a_typed_error(start_gateway: Start) -> None:
    running = await start_gateway()

    async def script(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START)
        await asyncio.Event().wait()

    running.provider.scripts += [script] * 5

    async def one() -> bytes:
        async with running.client.stream(
            "POST", "/api/v1/messages", content=BODY, headers=JSON
        ) as response:
            received = b""
            async for chunk in response.aiter_raw():
                received += chunk
                begun.release()
            return received

    begun = asyncio.Semaphore(0)
    streams = [asyncio.create_task(one()) for _ in range(5)]
    for _ in range(5):
        await begun.acquire()
    await running.gateway.active_requests.stop(0)
    for received in await asyncio.gather(*streams):
        assert b"event: error" in received
        assert b"shutting down" in received


async def test_usage_of_a_stream_lands_in_its_record(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(stream_everything)
    response = await running.post(
        json=None, content=BODY, headers=JSON | {"x-request-id": "mine-1"}
    )
    assert response.headers["x-request-id"] == "mine-1"
    [record] = await running.bus.records(1)
    assert (record.tokens_input, record.tokens_output, record.stop_reason) == (3, 7, "end_turn")
    assert (record.model, record.streaming, record.billed_to, record.provider) == (
        "claude-x",
        True,
        "api_key",
        "claude",
    )
    assert (record.client_request_id, record.upstream_request_id) == ("mine-1", "req_up")
    assert record.endpoint == "/api/v1/messages"
    assert record.bytes_in == len(BODY)
    assert record.bytes_out == len(response.content)
    assert record.first_byte_ms <= record.duration_ms


async def test_a_compressed_reply_passes_as_it_is(start_gateway: Start) -> None:
    running = await start_gateway()
    packed = gzip.compress(b'{"type":"message"}')
    running.provider.scripts.append(
        lambda connection: connection.answer(packed, headers=b"content-encoding: gzip\r\n")
    )
    response = await running.post()
    assert response.json() == {"type": "message"}


async def test_a_large_body_passes_untouched(start_gateway: Start) -> None:
    running = await start_gateway()
    body = orjson.dumps(
        {"messages": [{"role": "user", "content": "x" * 3_000_000}], "model": "claude-big"}
    )
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    await running.post(json=None, content=body, headers=JSON)
    assert running.provider.received[0].body == body
    [record] = await running.bus.records(1)
    assert record.model == "claude-big"


async def test_while_the_bus_is_away_sdk_says_so_and_api_works(start_gateway: Start) -> None:
    running = await start_gateway()
    response = await running.post("/sdk/v1/messages")
    assert response.status_code == 503
    assert "Redis" in read(response)["error"]["message"]
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    assert (await running.post()).status_code == 200


async def test_a_compressed_request_goes_out_unpacked(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    response = await running.post(
        content=gzip.compress(BODY), json=None, headers=JSON | {"content-encoding": "gzip"}
    )
    assert response.status_code == 200
    [received] = running.provider.received
    assert received.body == BODY
    assert "content-encoding" not in received.headers


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("lzma", 415)])
async def test_a_request_that_cannot_be_unpacked_is_the_clients_fault(
    start_gateway: Start, encoding: str, status: int
) -> None:
    running = await start_gateway()
    response = await running.post(
        content=BODY, json=None, headers=JSON | {"content-encoding": encoding}
    )
    assert response.status_code == status
    assert read(response)["error"]["type"] == "invalid_request_error"
    assert not running.provider.received


async def test_the_record_names_both_models_and_the_agent(start_gateway: Start) -> None:
    running = await start_gateway(models={"aliases": {"mine": "claude-x"}})
    running.provider.scripts = [
        lambda connection: connection.answer(b'{"type": "message", "model": "claude-x"}')
    ] * 2
    headers = {
        "x-claude-code-session-id": "s-1",
        "x-claude-code-agent-id": "a-2",
        "x-claude-code-parent-agent-id": "a-1",
    }
    reply = await running.post(json={"model": "mine", "messages": []}, headers=headers)
    assert reply.headers["x-ccproxy-model"] == "claude-x"
    assert "x-ccproxy-model" not in (await running.post()).headers
    record, plain = await running.bus.records(2)
    assert (record.asked_model, record.model) == ("mine", "claude-x")
    assert (record.session_id, record.agent_id, record.parent_agent_id) == ("s-1", "a-2", "a-1")
    assert (plain.asked_model, plain.session_id, plain.agent_id) == ("claude-x", "", "")
