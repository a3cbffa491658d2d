"""Bytes from a provider to a client, unchanged, with a tap on the way. The provider's answer is
always closed.

A stream always ends with its format's own terminal event: the provider's, or an error of ours when
the provider was cut, fell silent, or this process is stopping. A failure is never shown as success.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from gateway.providers import Opened
from gateway.proxy.active_requests import ActiveRequest
from gateway.server.asgi import Headers, Send
from shared.runtime.errors import CCProxyError, UpstreamError
from shared.runtime.log import get_log

MESSAGES_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT_PING = b": keep-alive\n\n"  # for formats without a ping of their own

# Reverse proxies buffer event streams by default (nginx reads x-accel-buffering).
STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Tap(Protocol):
    """Observes a stream and passes on whole events. `finished` is set once a terminal
    event passed.
    """

    finished: bool

    def feed(self, chunk: bytes) -> bytes: ...
    def end(self) -> bytes: ...


async def relay_stream(
    opened: Opened,
    send: Send,
    active: ActiveRequest,
    tap: Tap,
    write_error: Callable[[CCProxyError], bytes],
    ping: bytes,
    first: bytes = b"",
    settle: Callable[[], Awaitable[None]] | None = None,
) -> CCProxyError | None:
    """Relay an event stream to its end, after the bytes `first`; `settle` is called before the last
    bytes leave.

    Returns the error of a stream that was cut short; None for a complete stream.
    """

    async def send_ping() -> None:
        await send({"type": "http.response.body", "body": ping, "more_body": True})

    failure: CCProxyError | None = None
    last = b""
    try:
        with active:
            await send(
                {
                    "type": "http.response.start",
                    "status": opened.status,
                    "headers": opened.headers + STREAM_HEADERS,
                }
            )
            if first:
                await send({"type": "http.response.body", "body": first, "more_body": True})
            # Only now: no ping may come before the head of the response.
            active.ping = send_ping
            await pump(opened.chunks, send, active, tap)
            # The tap may hold back the last event: `settle` then runs before the client can know
            # that the reply is over, and begin the next turn.
            last = tap.end()
            if not tap.finished:
                raise UpstreamError("The provider's stream ended before its last event.")
            if settle is not None:
                await settle()
    except CCProxyError as error:
        # The traceback would hold this frame, and with it the error and the request's body.
        failure = error.with_traceback(None)
        last = write_error(error)
    except Exception:  # noqa: BLE001 - a fault of ours ends a stream with an error event too
        get_log().exception("stream_failed")
        failure = CCProxyError()
        last = write_error(failure)
    finally:
        # The last bytes follow, and a ping behind them would come after the end.
        active.ping = None
        await opened.aclose()
    # Outside of `with active:`, so that no interrupt can take the place of the last event.
    await send({"type": "http.response.body", "body": last})
    return failure


async def pump(chunks: AsyncIterator[bytes], send: Send, active: ActiveRequest, tap: Tap) -> None:
    """Send the chunks of a stream, with one `send` for every read that completed an event."""
    async for chunk in chunks:
        active.touch()
        if ready := tap.feed(chunk):
            # While `send` waits, the silence is the client's, not the provider's.
            active.sending = True
            await send({"type": "http.response.body", "body": ready, "more_body": True})
            active.sending = False


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
                active.touch()
                active.sending = True
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                active.sending = False
    except CCProxyError as error:
        return error.with_traceback(None)  # the traceback would hold this frame
    finally:
        await opened.aclose()
    await send({"type": "http.response.body", "body": b""})
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
