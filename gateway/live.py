"""A response that stays open for as long as needed: for a person's decision, or for a watcher of
events.

A live response is interruptible like every active request: it ends when its client leaves and when
this process stops. Silence is filled with whatever its format allows.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable

from starlette.responses import Response

from gateway.asgi import Receive, Scope, Send
from gateway.inflight import Flights, InFlight
from gateway.relay import STREAM_HEADERS
from shared.errors import CallerGone, CCProxyError

EVENT_STREAM = "text/event-stream; charset=utf-8"


class Live(Response):
    """A response that stays open while `chunks` yields. `ping` makes the bytes for a silence,
    `last` the bytes after an error.
    """

    def __init__(
        self,
        flights: Flights,
        chunks: AsyncGenerator[bytes, None],
        *,
        ping: Callable[[], bytes],
        last: Callable[[CCProxyError], bytes] = lambda _: b"",
        media_type: str = EVENT_STREAM,
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._flights, self._chunks, self._ping, self._last = flights, chunks, ping, last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("ccproxy.head"):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            await self._chunks.aclose()
            return
        flight = self._flights.open()
        flight.limit, flight.receive = math.inf, receive
        end = b""
        try:
            with flight:
                head = [*self.raw_headers, *STREAM_HEADERS]
                await send({"type": "http.response.start", "status": self.status_code, "headers": head})
                flight.ping = lambda: self._send(send, flight, self._ping())
                async for chunk in self._chunks:
                    await self._send(send, flight, chunk)
        except CallerGone:
            return
        except CCProxyError as error:
            end = self._last(error)
        finally:
            flight.ping = None
            self._flights.close(flight)
            await self._chunks.aclose()
        await send({"type": "http.response.body", "body": end})

    async def _send(self, send: Send, flight: InFlight, chunk: bytes) -> None:
        """Send a chunk within the idle limit, so that a client that stops reading does not keep its
        place for ever.
        """
        flight.touch()
        flight.sending, flight.limit = True, self._flights.patience.idle
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        flight.sending, flight.limit = False, math.inf
        flight.touch()
