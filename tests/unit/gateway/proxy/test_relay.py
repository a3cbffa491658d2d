"""The relay closes what it opened, whatever ends it, and its stream always ends with a terminal
event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.providers import MAX_REPLY_BYTES, Opened
from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.proxy.messages_tap import MessagesTap
from gateway.proxy.relay import StreamHead, relay_download, relay_stream, relay_whole
from shared.bus.channels import AccessRecord
from shared.runtime.errors import CallerGone, CCProxyError, UpstreamError
from tests.unit.gateway.conftest import DELTA, END, START


class Source:
    """A provider's answer made of `chunks`; raises `then` behind them."""

    def __init__(self, *chunks: bytes, then: Exception | None = None) -> None:
        self.chunks = chunks
        self.then = then
        self.closed = False

    async def _read(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.then is not None:
            raise self.then

    def opened(self) -> Opened:
        async def aclose() -> None:
            self.closed = True

        return Opened(200, [(b"content-type", b"text/event-stream")], self._read(), aclose)


class Sink:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


def write_error(error: CCProxyError) -> bytes:
    return f"!{error.kind}".encode()


async def relay(source: Source) -> tuple[Sink, CCProxyError | None]:
    sink = Sink()
    failure = await relay_stream(
        source.opened(),
        sink,
        ActiveRequests(Timeouts()).open(),
        MessagesTap(AccessRecord("r", 0)),
        write_error,
        b"",
    )
    assert sink.messages[-1].get("more_body", False) is False
    assert source.closed
    return sink, failure


async def test_each_read_leaves_as_one_send() -> None:
    sink, failure = await relay(Source(START, DELTA + DELTA, END))
    bodies = [message["body"] for message in sink.messages[1:]]
    assert bodies == [START, DELTA + DELTA, END, b""]
    assert failure is None


async def test_a_failure_of_the_provider_becomes_the_last_event() -> None:
    sink, failure = await relay(Source(START, then=UpstreamError("cut")))
    assert sink.body == START + b"!upstream"
    assert failure is not None


async def test_a_client_that_stopped_reading_is_sent_no_last_event() -> None:
    source = Source(START, DELTA)
    active = ActiveRequests(Timeouts()).open()
    sink = Sink()
    reads_no_more = asyncio.Event()

    async def send(message: Any) -> None:
        await sink(message)
        if DELTA in message.get("body", b""):
            reads_no_more.set()
        if reads_no_more.is_set():
            await asyncio.Event().wait()

    relaying = asyncio.ensure_future(
        relay_stream(
            source.opened(), send, active, MessagesTap(AccessRecord("r", 0)), write_error, b""
        )
    )
    active._task = relaying
    await reads_no_more.wait()
    active.interrupt(CallerGone("The client stopped reading."))
    async with asyncio.timeout(5):
        failure = await relaying
    assert isinstance(failure, CallerGone)
    assert sink.body == START + DELTA
    assert source.closed


@pytest.mark.parametrize("chunks", [(START, DELTA, END), (START,)], ids=["whole", "cut short"])
async def test_a_client_that_never_takes_the_end_of_a_stream_is_gone_after_the_idle_limit(
    chunks: tuple[bytes, ...],
) -> None:
    source = Source(*chunks)
    active = ActiveRequests(Timeouts(idle=0.01)).open()
    sink = Sink()

    async def send(message: Any) -> None:
        await sink(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        failure = await relay_stream(
            source.opened(), send, active, MessagesTap(AccessRecord("r", 0)), write_error, b""
        )
    assert isinstance(failure, UpstreamError if chunks == (START,) else CallerGone)
    assert source.closed


async def test_a_client_that_never_takes_the_end_of_a_download_is_gone_after_the_idle_limit() -> (
    None
):
    active = ActiveRequests(Timeouts(idle=0.01)).open()
    active.note_answer()

    async def send(message: Any) -> None:
        if message == {"type": "http.response.body", "body": b""}:
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        failure = await relay_download(Source(b"piece").opened(), send, active)
    assert isinstance(failure, CallerGone)


async def test_a_fault_of_ours_in_a_stream_becomes_the_last_event_and_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink, failure = await relay(Source(START, then=RuntimeError("a bug")))
    assert sink.body == START + b"!internal"
    assert failure is not None
    assert failure.kind == "internal"
    assert [record.getMessage() for record in caplog.records] == ["stream_failed"]


async def test_a_whole_reply_is_one_body_with_its_length() -> None:
    source, sink = Source(b"ab", b"cd"), Sink()
    assert await relay_whole(source.opened(), sink, ActiveRequests(Timeouts()).open()) == b"abcd"
    assert (b"content-length", b"4") in sink.messages[0]["headers"]
    assert sink.messages[1]["body"] == b"abcd"
    assert source.closed


async def test_a_whole_reply_beyond_the_limit_is_an_upstream_error() -> None:
    piece = bytes(MAX_REPLY_BYTES // 4)
    source, sink = Source(piece, piece, piece, piece, b"x"), Sink()
    with pytest.raises(UpstreamError, match="larger than the 67,108,864 bytes"):
        await relay_whole(source.opened(), sink, ActiveRequests(Timeouts()).open())
    assert source.closed
    assert not sink.messages


async def test_a_failure_before_the_head_is_raised_and_closes_the_answer() -> None:
    async def begin(_head: StreamHead) -> bytes:
        raise UpstreamError("refused")

    source, sink = Source(START), Sink()
    active = ActiveRequests(Timeouts()).open()
    with pytest.raises(UpstreamError, match="refused"):
        await relay_stream(
            source.opened(),
            sink,
            active,
            MessagesTap(AccessRecord("r", 0)),
            write_error,
            b"",
            begin,
        )
    assert source.closed
    assert sink.messages == []


async def test_the_head_leaves_once_however_many_want_it_to_leave() -> None:
    sink = Sink()

    async def send(message: Any) -> None:
        await asyncio.sleep(0)  # a connection whose earlier bytes are still on their way
        await sink(message)

    head = StreamHead(Source().opened(), send)
    await asyncio.gather(head.send_ping(b"ping"), head.leave())
    kinds = [message["type"] for message in sink.messages]
    assert kinds == ["http.response.start", "http.response.body"]
