"""A response that stays open for as long as needed: for a person's decision, or for a watcher of
events.

A live response is interruptible like every active request: it ends when its client leaves and when
this process stops. Silence is filled with whatever its format allows.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable

from starlette.responses import Response

from gateway.proxy.active_requests import ActiveRequest, ActiveRequests
from gateway.proxy.relay import STREAM_HEADERS, send_end
from gateway.server.asgi import Receive, Scope, Send
from gateway.server.context import context_of
from shared.runtime.errors import CallerGone, CCProxyError

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
WHITE_SPACE = b"\n"  # allowed before a JSON text; keeps a connection alive


class Live(Response):
    """A response that stays open while `chunks` yields. `ping` makes the bytes for a silence,
    `last` the bytes after an error.
    """

    def __init__(
        self,
        active_requests: ActiveRequests,
        chunks: AsyncGenerator[bytes, None],
        *,
        ping: Callable[[], bytes],
        last: Callable[[CCProxyError], bytes] = lambda _: b"",
        media_type: str = EVENT_STREAM,
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._active_requests = active_requests
        self._chunks = chunks
        self._ping = ping
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if context_of(scope).record.method == "HEAD":
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await send({"type": "http.response.body", "body": b""})
            await self._chunks.aclose()
            return
        active = self._active_requests.open()
        # A person may take any time. Only a piece on its way to the client has a limit (`_send`).
        active.begin_waiting(math.inf, receive)
        end = b""
        has_begun = False
        try:
            with active:
                head = [*self.raw_headers, *STREAM_HEADERS]
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": head}
                )
                has_begun = True
                active.start_pings(lambda: self._send(send, active, self._ping()))
                async for chunk in self._chunks:
                    await self._send(send, active, chunk)
        # No last piece: a client that left, or stopped reading, would hold up this task.
        except CallerGone:
            return
        except CCProxyError as error:
            # An answer that has not begun can still be an error with its own status.
            if not has_begun:
                raise
            end = self._last(error)
        finally:
            self._active_requests.close(active)
            # Closes the call behind the chunks, such as the watching of events.
            await self._chunks.aclose()
        active.limit = self._active_requests.timeouts.idle
        await send_end(send, active, end)

    async def _send(self, send: Send, active: ActiveRequest, chunk: bytes) -> None:
        """Send a chunk within the idle limit, so that a client that stops reading does not keep its
        place for ever.
        """
        active.limit = self._active_requests.timeouts.idle
        await active.send_piece(send, chunk)
        active.limit = math.inf
