"""Clients of HTTP/1.0 get no chunks."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.gateway.conftest import DELTA, END, START, Connection, Running, Start

BODY = b'{"model": "claude-x", "messages": [], "stream": true}'


async def stream(connection: Connection) -> None:
    await connection.start_stream()
    for frame in (START, DELTA, END):
        await connection.send_chunk(frame)
    await connection.send(b"0\r\n\r\n")


async def whole(connection: Connection) -> None:
    await connection.answer(b'{"type": "message"}')


async def ask(running: Running, request: bytes) -> tuple[bytes, bytes]:
    """Return head and body of the answer, which ends with its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(request)
    received = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
async def test_a_stream_to_an_old_client_ends_with_its_connection(
    start_gateway: Start, keep: bytes
) -> None:
    running = await start_gateway()
    running.provider.scripts = [stream]
    head = (
        b"POST /api/v1/messages HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + keep
    )
    head, body = await ask(running, head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head
    assert body == START + DELTA + END


async def test_a_whole_reply_to_an_old_client_keeps_its_length(start_gateway: Start) -> None:
    running = await start_gateway()
    head, body = await ask(running, b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert body
