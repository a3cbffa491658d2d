"""Requests that offer another protocol, on a real socket."""

from __future__ import annotations

import asyncio

import pytest

from gateway.server.upgrade_offers import head_without_offer, without_offer_tokens
from tests.unit.gateway.conftest import Connection, Running, Start

BODY = b'{"model": "claude-x", "messages": []}'
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
HEAD = b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def answer(connection: Connection) -> None:
    await connection.answer(b'{"type": "message", "model": "claude-x"}')


async def exchange(running: Running, pieces: list[bytes], replies: int = 1) -> bytes:
    """Send `pieces`, each when the one before has surely arrived; return the bytes of
    the answers.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    received = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await (await running.client.get("/health/live")).aread()
        while received.count(b"HTTP/1.1 ") < replies or not received.endswith(b"}"):
            piece = await asyncio.wait_for(reader.read(65536), 5)
            if not piece:
                break
            received += piece
    finally:
        writer.close()
    return received


LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SENT = {
    "in one packet": [HEAD + OFFER + LENGTH + BODY],
    "in two packets": [HEAD + OFFER + LENGTH, BODY],
    "in chunks": [HEAD + OFFER + CHUNKS],
    "cut in the middle of the head": [
        HEAD[:30],
        HEAD[30:] + OFFER[:20],
        OFFER[20:] + LENGTH[:5],
        LENGTH[5:] + BODY,
    ],
    "with another protocol": [
        HEAD + b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n" + LENGTH + BODY
    ],
    "to open a WebSocket with a body": [
        HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH + BODY
    ],
}


@pytest.mark.parametrize("name", SENT)
async def test_an_offer_is_ignored_and_the_body_read(start_gateway: Start, name: str) -> None:
    running = await start_gateway()
    running.provider.scripts = [answer]
    reply = await exchange(running, SENT[name])
    assert reply.startswith(b"HTTP/1.1 200")
    [received] = running.provider.received
    assert received.body == BODY
    assert not {"upgrade", "http2-settings", "connection"} & set(received.headers)


async def test_requests_behind_an_offer_are_answered_too(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts = [answer, answer, answer]
    offered = HEAD + OFFER + LENGTH + BODY
    reply = await exchange(running, [offered + HEAD + LENGTH + BODY + offered], replies=3)
    assert reply.count(b"HTTP/1.1 200") == 3
    assert [one.body for one in running.provider.received] == [BODY] * 3


async def test_a_websocket_is_still_refused_by_name(start_gateway: Start) -> None:
    running = await start_gateway()
    head = (
        b"GET /codex/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "
        b"websocket\r\n\r\n"
    )
    assert (await exchange(running, [head])).startswith(b"HTTP/1.1 426")


async def test_a_tunnel_is_refused(start_gateway: Start) -> None:
    running = await start_gateway()
    reply = await exchange(
        running, [b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    )
    assert reply.startswith(b"HTTP/1.1 400")


def test_the_offer_alone_leaves_the_head() -> None:
    headers = [
        (b"host", b"a"),
        (b"connection", b"close, Upgrade"),
        (b"upgrade", b"h2c"),
        (b"x", b"y"),
    ]
    head = head_without_offer(b"GET", b"/", headers)
    assert head == b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: y\r\n\r\n"
    assert without_offer_tokens(b"Upgrade,HTTP2-Settings") == b""
