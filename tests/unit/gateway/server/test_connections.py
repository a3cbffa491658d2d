"""What a client may do before its request's head is whole, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest

from gateway.server.connections import HEAD_SECONDS, Connections, check_times
from gateway.server.forwarded import TrustedProxies
from gateway.server.guard import MAX_HEADER_BYTES
from gateway.server.process import Server
from shared.runtime.errors import Busy
from shared.settings.servers import ServerSettings
from tests.unit.gateway.conftest import Running, Start

PROXIES = TrustedProxies(["10.0.0.0/8"])
PIECE = 64 * 1024
MEBIBYTE = 1024 * 1024
CHUNKED = (
    b"POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Running], Awaitable[Wire]]
Late = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`await connect(running)`: a plain connection to a gateway, closed at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_connection(running: Running) -> Wire:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            stack.callback(writer.close)
            return reader, writer

        yield open_connection


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """Return what the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(PIECE), 5):
            received += piece
    return received


ENDLESS: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "header lines": lambda size: (
        b"GET / HTTP/1.1\r\nhost: localhost\r\n",
        b"x: y\r\n" * (size // 6),
    ),
    "one name": lambda size: (b"GET / HTTP/1.1\r\n", b"x" * size),
    "one value": lambda size: (b"GET / HTTP/1.1\r\nx: ", b"y" * size),
    "a URL": lambda size: (b"GET /", b"z" * size),
    "empty lines": lambda size: (b"", b"\r\n" * (size // 2)),
    "trailers": lambda size: (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x: y\r\n" * (size // 6)),
    "a chunk extension": lambda size: (CHUNKED + b"2;x=", b"y" * size),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_head_is_refused_early(
    start_gateway: Start, connect: Connect, name: str
) -> None:
    running = await start_gateway()
    begin, endless = ENDLESS[name](MEBIBYTE)
    before = psutil.Process(os.getpid()).memory_info().rss
    reader, writer = await connect(running)
    reading = asyncio.create_task(read_reply(reader))
    sent = 0
    with contextlib.suppress(ConnectionError):
        writer.write(begin)
        for _ in range(100):
            writer.write(endless)
            await asyncio.wait_for(writer.drain(), 5)
            sent += len(endless)
    assert sent < 16 * MEBIBYTE
    assert psutil.Process(os.getpid()).memory_info().rss - before < 32 * MEBIBYTE
    reply = await reading
    if (
        "chunk" not in name and name != "trailers"
    ):  # there a request is being answered: the connection just ends
        assert reply.startswith(b"HTTP/1.1 431 "), reply
        assert b"connection: close" in reply
    assert (await running.client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("size", [100, MAX_HEADER_BYTES - 1000])
async def test_a_head_in_many_pieces_is_taken(
    start_gateway: Start, connect: Connect, size: int
) -> None:
    running = await start_gateway()
    reader, writer = await connect(running)
    head = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * size + b"\r\n\r\n"
    for start in range(0, len(head), 1 + len(head) // 9):
        writer.write(head[start : start + 1 + len(head) // 9])
        await asyncio.sleep(0)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_large_body_is_no_large_head(start_gateway: Start, connect: Connect) -> None:
    running = await start_gateway()
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    body = b'{"model": "claude-x", "pad": "' + b"x" * 4 * MEBIBYTE + b'"}'
    reader, writer = await connect(running)
    writer.write(CHUNKED)
    for start in range(0, len(body), 30_000):
        piece = body[start : start + 30_000]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("bytes_sent", [b"\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"hello\r\n\r\n"])
async def test_bytes_other_than_http_get_a_400(
    start_gateway: Start, connect: Connect, bytes_sent: bytes
) -> None:
    reader, writer = await connect(await start_gateway())
    writer.write(bytes_sent)
    reply = await read_reply(reader)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"not valid HTTP" in reply


@pytest.fixture
async def late(start_gateway: Start, connect: Connect) -> Late:
    """`await late(sent)`: send bytes, let HEAD_SECONDS pass, and return the whole reply."""
    running = await start_gateway()

    async def send(sent: bytes) -> bytes:
        reader, writer = await connect(running)
        writer.write(sent)
        await writer.drain()
        first = (
            await reader.readline() if sent.endswith(b"\r\n\r\n") or b"\r\n\r\n{" in sent else b""
        )
        for _ in range(20):
            await asyncio.sleep(0)
        assert (
            await running.client.get("/health/live")
        ).status_code == 200  # what was sent has been read by now
        now = asyncio.get_running_loop().time()
        check_times(running.server.server_state.connections, now + HEAD_SECONDS - 1)
        check_times(running.server.server_state.connections, now + HEAD_SECONDS + 1)
        reply = await read_reply(reader)
        return first + reply

    return send


async def test_half_a_head_is_refused_in_time(late: Late) -> None:
    assert (await late(b"GET / HTTP/1.1\r\nhost:")).startswith(b"HTTP/1.1 408 ")


async def test_empty_lines_do_not_keep_a_connection(late: Late) -> None:
    assert (await late(b"\r\n\r")).startswith(b"HTTP/1.1 408 ")


async def test_a_silent_connection_is_closed_without_a_word(late: Late) -> None:
    assert await late(b"") == b""


async def test_half_a_second_head_on_a_kept_connection_is_refused_in_time(late: Late) -> None:
    sent = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert b"HTTP/1.1 408 " in await late(sent + b"GET /he")


async def test_a_refused_body_that_does_not_end_is_cut(late: Late) -> None:
    sent = b"POST /api/v1/messages HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 999\r\n\r\n{"
    reply = await late(sent)
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert reply.count(b"HTTP/1.1") == 1


async def test_one_address_has_a_limit_and_loopback_and_proxies_have_more() -> None:
    limits = Connections(2, PROXIES, most=10)
    for _ in range(2):
        limits.admit("203.0.113.9")
    with pytest.raises(Busy, match="SERVER__CONNECTIONS_PER_ADDRESS"):
        limits.admit("203.0.113.9")
    limits.admit("203.0.113.10")
    for address in ("127.0.0.1", "10.0.0.1"):
        for _ in range(3):
            limits.admit(address)
    with pytest.raises(Busy, match="10 connections open"):
        limits.admit("127.0.0.1")


async def test_a_closed_connection_makes_room() -> None:
    limits = Connections(1, PROXIES)
    limits.admit("2001:db8::1")
    with pytest.raises(Busy):
        limits.admit("2001:db8::2")
    limits.release("2001:db8::2")
    limits.release("2001:db8::1")
    limits.admit("2001:db8::2")


async def test_a_full_server_says_so_and_serves_those_inside(
    start_gateway: Start, connect: Connect
) -> None:
    running = await start_gateway()
    limits = Connections(1, PROXIES, most=1)
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(running.gateway.app, ServerSettings(), limits)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    running.port = listening.getsockname()[1]
    inside = await connect(running)
    outside, _ = await connect(running)
    reply = await read_reply(outside)
    assert reply.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in reply
    inside[1].write(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await inside[0].readline()).startswith(b"HTTP/1.1 200")
    server.should_exit = True
    await serving
