"""Bodies of management requests, read whole and as JSON before FastAPI sees them.

So one size limit, one silence limit and one JSON parser hold on every route, and an unreadable body
becomes a clear client error, never an exception of a library. The proxy routes read their bodies in
`gateway/proxy/exchange.py`, under the same limits.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from gateway.proxy.active_requests import ActiveRequests
from gateway.server.asgi import ASGIApp, Message, Receive, Scope, Send, read_body
from gateway.server.context import context_of
from gateway.server.decoding import decode_body
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import deeper_than

# Levels of a document: our libraries fail at about 250, and no tool nests a tenth of 128.
MAX_DEPTH = 128
# Read by the routes: JSON-RPC has errors of its own, and forms are no JSON.
OWN_READING = frozenset({"/mcp", "/signin", "/signout", "/pair"})


class WholeBody:
    """The ASGI layer around `app` that reads every request's body within `limit` bytes and passes
    the body on in one piece.
    """

    def __init__(self, app: ASGIApp, active_requests: ActiveRequests, limit: int) -> None:
        self._app = app
        self._active_requests = active_requests
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = context_of(scope).headers
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        active = self._active_requests.open()
        try:
            with active:
                body = await read_body(receive, headers, self._limit, active.receive_bytes)
                if encodings := headers.get(b"content-encoding"):
                    body = await decode_body(body, encodings.decode("latin-1"), self._limit)
                    active.receive_bytes(len(body))
            # The body is complete. Later waits, for the route's answer, have limits of their own.
            active.begin_waiting(math.inf)
            if body and scope["path"] not in OWN_READING:
                read_json(body)
            await self._app(scope, replay(body, receive), send)
        finally:
            self._active_requests.close(active)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns `body` first, then the messages of `receive`."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


def read_json(body: bytes) -> Any:
    """Return the document in `body`. Raises ClientError for anything but JSON, and for more than
    MAX_DEPTH levels.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ClientError(f"The request body is not valid JSON: {error}.") from error
    if deeper_than(document, MAX_DEPTH):
        raise ClientError(f"The request body is nested more than {MAX_DEPTH} levels deep.")
    return document
