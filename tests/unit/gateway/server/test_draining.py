"""A gateway that is replaced serves what it accepted; a stack that stops does not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.server.connections import Connections
from gateway.server.draining import drain, others_accept
from gateway.server.forwarded import TrustedProxies
from shared.settings.servers import ServerSettings
from tests.unit.gateway.conftest import DELTA, END, START, Connection, Running, Start

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nobody can tell that the listening was ended"
)
TWO = ServerSettings(workers=2)


@pytest.fixture
def shared() -> Iterator[socket.socket]:
    """A socket on which other processes accept as well."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


class Wire:
    """One connection to a gateway, kept from request to request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def get(self) -> bytes:
        """Send a request; return the head of its reply."""
        self.writer.write(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        [length] = [
            line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        await self.reader.readexactly(int(length.partition(b":")[2]))
        return head

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(1), 5) == b""


@pytest.fixture
async def wires() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


async def open_wire(running: Running, wires: contextlib.AsyncExitStack) -> Wire:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    wires.callback(writer.close)
    return Wire(reader, writer)


@LINUX
async def test_a_kept_connection_gets_one_more_reply_that_says_it_is_the_last(
    start_gateway: Start, shared: socket.socket, wires: contextlib.AsyncExitStack
) -> None:
    running = await start_gateway()
    wire = await open_wire(running, wires)
    assert b"connection: close" not in await wire.get()
    leaving = asyncio.create_task(running.server.leave(TWO, shared))
    await asyncio.sleep(0)
    last = await wire.get()
    assert last.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in last
    assert await wire.is_closed()
    await asyncio.wait_for(leaving, 5)


@LINUX
async def test_a_stream_goes_on_to_its_end_and_nothing_new_is_accepted(
    start_gateway: Start, shared: socket.socket
) -> None:
    running = await start_gateway()
    may_end = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.start_stream()
        await connection.send_chunk(START + DELTA)
        await may_end.wait()
        await connection.send_chunk(END)
        await connection.send_chunk(b"")

    running.provider.scripts.append(stream)
    body = {"model": "claude-x", "messages": [], "stream": True}
    async with running.client.stream("POST", "/api/v1/messages", json=body) as reply:
        pieces = reply.aiter_bytes()
        await anext(pieces)
        leaving = asyncio.create_task(running.server.leave(TWO, shared))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.port)
        assert not leaving.done()
        may_end.set()
        rest = b"".join([piece async for piece in pieces])
    assert b"message_stop" in rest
    await asyncio.wait_for(leaving, 5)


@pytest.mark.parametrize("what", ["one worker", "the stack stops", "not shared"])
async def test_nothing_is_waited_for_when_nobody_would_serve_the_others(
    start_gateway: Start, shared: socket.socket, wires: contextlib.AsyncExitStack, what: str
) -> None:
    running = await start_gateway()
    wire = await open_wire(running, wires)
    await wire.get()
    if what == "the stack stops" and sys.platform == "linux":
        shared.shutdown(socket.SHUT_RDWR)
    settings = ServerSettings(workers=1) if what == "one worker" else TWO
    await asyncio.wait_for(
        running.server.leave(settings, None if what == "not shared" else shared), 0.5
    )


@LINUX
def test_others_accept_as_long_as_nobody_ends_the_listening(shared: socket.socket) -> None:
    assert others_accept(shared, 2)
    assert not others_accept(shared, 1)
    shared.shutdown(socket.SHUT_RDWR)
    assert not others_accept(shared, 2)


class Busy:
    """A connection whose request does not end."""

    def __init__(self) -> None:
        self.announced = False

    def is_idle(self) -> bool:
        return False

    def announce_end(self) -> None:
        self.announced = True

    def close(self) -> None:
        raise AssertionError("a busy connection is not closed")


async def test_a_request_that_does_not_end_is_waited_for_within_the_bound() -> None:
    busy = Busy()
    limits = Connections(1, TrustedProxies([]))
    await asyncio.wait_for(drain([busy], limits, 0.1), 5)
    assert busy.announced
    assert limits.leaving


async def test_a_stop_of_the_stack_ends_the_waiting() -> None:
    answers = iter([True, True, False])
    await asyncio.wait_for(
        drain([Busy()], Connections(1, TrustedProxies([])), 600, go_on=lambda: next(answers)), 5
    )
