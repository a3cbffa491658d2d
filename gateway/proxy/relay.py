"""Bytes from a provider to a client, unchanged, with a tap on the way. The provider's answer is
always closed.

A stream always ends with its format's own terminal event: the provider's, or an error of ours when
the provider was cut, fell silent, or this process is stopping. A failure is never shown as success.
While a provider is silent towards the client, also one that sends half an event byte by byte, the
client gets pings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Protocol

from gateway.providers import Opened
from gateway.proxy.active_requests import ActiveRequest, stopped_reading
from gateway.server.asgi import Headers, Send
from shared.runtime.errors import CallerGone, CCProxyError, UpstreamError
from shared.runtime.log import get_log

MESSAGES_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT_PING = b": keep-alive\n\n"  # for formats without a ping of their own

# Reverse proxies buffer event streams by default (nginx reads x-accel-buffering).
STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Tap(Protocol):
    """Observes a stream and passes on whole events. `begun` is set once the first whole event
    passed, `finished` once a terminal event passed.
    """

    begun: bool
    finished: bool

    def feed(self, chunk: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class StreamHead:
    """The status and headers of a client's stream. The head leaves once: before the first event, or
    with an earlier ping.
    """

    def __init__(self, opened: Opened, send: Send) -> None:
        self._opened = opened
        self._send = send
        self._leaving = asyncio.Lock()
        self.has_left = False

    async def leave(self) -> None:
        # The first ping and the first event may want to leave at the same time.
        async with self._leaving:
            if self.has_left:
                return
            headers = self._opened.headers + STREAM_HEADERS
            await self._send(
                {"type": "http.response.start", "status": self._opened.status, "headers": headers}
            )
            self.has_left = True

    async def send_ping(self, ping: bytes) -> None:
        await self.leave()
        await self._send({"type": "http.response.body", "body": ping, "more_body": True})


async def relay_stream(
    opened: Opened,
    send: Send,
    active: ActiveRequest,
    tap: Tap,
    write_error: Callable[[CCProxyError], bytes],
    ping: bytes,
    begin: Callable[[StreamHead], Awaitable[bytes]] | None = None,
    settle: Callable[[], Awaitable[None]] | None = None,
) -> CCProxyError | None:
    """Relay an event stream to its end; `settle` is called before the last bytes leave. `begin`
    returns the first bytes, and is called before the head leaves.

    Returns the error of a stream that was cut short; None for a complete stream. Raises the error
    of a stream whose head has not left: the error can still have its own status.
    """
    head = StreamHead(opened, send)
    failure: CCProxyError | None = None
    last = b""
    try:
        with active:
            # A ping that comes before the first bytes takes the head along.
            active.start_pings(partial(head.send_ping, ping))
            first = await begin(head) if begin is not None else b""
            await head.leave()
            if first:
                await active.send_piece(send, first)
            await pump(opened.chunks, send, active, tap)
            # The tap may hold back the last event: `settle` then runs before the client can know
            # that the reply is over, and begin the next turn.
            last = tap.end()
            if not tap.finished:
                raise UpstreamError("The provider's stream ended before its last event.")
            if settle is not None:
                await settle()
    except CCProxyError as error:
        if not head.has_left:
            raise
        # The traceback would hold this frame, and with it the error and the request's body.
        failure = error.with_traceback(None)
        last = write_error(error)
    except Exception:
        if not head.has_left:
            raise
        get_log().exception("stream_failed")
        failure = CCProxyError()
        last = write_error(failure)
    finally:
        # The last bytes follow, and a ping behind them would come after the end.
        active.stop_pings()
        await opened.aclose()
    # A client that left, or stopped reading, takes no last event: `send` could wait for ever.
    if isinstance(failure, CallerGone):
        return failure
    left = await send_end(send, active, last)
    return failure or left


async def pump(chunks: AsyncIterator[bytes], send: Send, active: ActiveRequest, tap: Tap) -> None:
    """Send the chunks of a stream, with one `send` for every read that completed an event."""
    async for chunk in chunks:
        ready = tap.feed(chunk)
        # Before the first whole event, bytes do not count: the first-byte limit goes on.
        active.note_answer(is_begun=tap.begun)
        if ready:
            await active.send_piece(send, ready)


async def relay_download(opened: Opened, send: Send, active: ActiveRequest) -> CCProxyError | None:
    """Relay an answer of any length in pieces. Return the error of an answer that was cut short.

    The connection then ends without its end: nothing else can report the failure to the client.
    """
    try:
        with active:
            await send(
                {"type": "http.response.start", "status": opened.status, "headers": opened.headers}
            )
            async for chunk in opened.chunks:
                await active.send_piece(send, chunk)
    except CCProxyError as error:
        return error.with_traceback(None)  # the traceback would hold this frame
    finally:
        await opened.aclose()
    return await send_end(send, active, b"")


async def send_end(send: Send, active: ActiveRequest, last: bytes) -> CCProxyError | None:
    """Send the last bytes of an answer and its end. Return the error of a client that took no byte
    for the request's time limit.
    """
    # Outside of `with active:`, so that no interrupt can take the place of the last event. The end
    # of a stream waits until the client has taken what was sent before, so it needs a limit.
    try:
        async with asyncio.timeout(active.limit):
            await send({"type": "http.response.body", "body": last})
    except TimeoutError:
        return stopped_reading()
    return None


async def relay_whole(opened: Opened, send: Send, active: ActiveRequest) -> bytes:
    """Relay a whole answer once all bytes are here, so that an error can still have its
    own status.
    """
    try:
        with active:
            body = await opened.read()
    finally:
        await opened.aclose()
    await send_whole(opened.status, opened.headers, body, send)
    return body


async def send_whole(status: int, headers: Headers, body: bytes, send: Send) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
