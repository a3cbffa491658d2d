"""The load of the measurements: what counts as an answer, and what as an error."""

from __future__ import annotations

import asyncio
import contextlib

from benchmarks import load, upstream

WHOLE = load.http_request("/v1/messages", b'{"model": "bench-whole"}', {})


@contextlib.asynccontextmanager
async def serving(protocol):
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Says(asyncio.Protocol):
    """A server which writes the same bytes for every request, and may end the connection then."""

    def __init__(self, reply, ends=False):
        self.reply, self.ends = reply, ends

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(self.reply)
        if self.ends:
            self.transport.close()


async def load_on(protocol, **limits):
    async with serving(protocol) as port:
        return await load.run(port, WHOLE, 2, 0.05, ramp=0, **limits)


async def test_good_answers_are_counted_and_timed():
    found = await load_on(upstream.Provider)
    assert found["done"] > 0
    assert found["errors"] == 0
    assert found["latency_p50"] > 0


async def test_an_answer_that_is_no_200_is_an_error_with_its_text_and_no_answer():
    refusal = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nwait"
    found = await load_on(lambda: Says(refusal))
    assert found["done"] == 0
    assert found["errors"] > 0
    assert found["first_error"].startswith("HTTP/1.1 503 Busy")
    assert found["latency_p50"] is None


async def test_a_connection_that_ends_in_an_answer_is_an_error_and_is_opened_again():
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
    found = await load_on(lambda: Says(half, ends=True))
    assert found["done"] == 0
    assert found["first_error"].startswith("the connection ended")


async def test_an_answer_without_a_length_ends_with_its_connection():
    found = await load_on(lambda: Says(b"HTTP/1.1 200 OK\r\n\r\nall", ends=True))
    assert found["done"] == 2
    assert found["errors"] == 0


async def test_a_length_within_the_name_of_another_header_is_not_the_answers():
    head = b"HTTP/1.1 200 OK\r\nprovider-content-length: 9000\r\ntransfer-encoding: chunked"
    found = await load_on(lambda: Says(head + b"\r\n\r\n3\r\nall\r\n0\r\n\r\n"), patience=1)
    assert found["done"] > 0
    assert found["errors"] == 0


class InPieces(Says):
    """A server whose answers end in two pieces."""

    def data_received(self, data):
        self.transport.write(self.reply[:-2])
        asyncio.get_running_loop().call_soon(self.transport.write, self.reply[-2:])


async def test_a_stream_ends_with_its_last_chunk_also_when_that_comes_in_pieces():
    stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n"
    found = await load_on(lambda: InPieces(stream), patience=1)
    assert found["done"] > 0
    assert found["errors"] == 0


async def test_a_request_without_answer_is_an_error_when_the_patience_ends():
    found = await load_on(lambda: Says(b""), patience=0)
    assert found["done"] == 0
    assert found["errors"] == 2
    assert "no whole answer" in found["first_error"]


async def test_a_server_that_is_not_there_is_an_error():
    async with serving(upstream.Provider) as port:
        pass
    found = await load.run(port, WHOLE, 1, 0, ramp=0)
    assert found["done"] == 0
    assert found["first_error"].startswith("no connection")
