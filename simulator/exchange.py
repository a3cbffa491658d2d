"""One request and its reply on the wire, with everything that crossed it noted down.

The raw bytes of both directions are kept as they were. A reply that is left without `close` or
`send` is a dropped connection: the server closes the socket when the application returns.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from starlette.types import Receive, Scope, Send

from simulator.ledger import Record

# The handlers of a resource by method and path; a handler gets the exchange and the values in the
# path.
Routes = dict[tuple[str, str], Callable[..., Awaitable[None]]]


class Left(Exception):
    """The client left before the request was complete."""


class SimulatedExchange:
    """`front` are headers for every reply. Header names are lower case, repeated ones joined by a
    comma.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        self.headers: dict[str, str] = {}
        for name, value in pairs:
            # A repeated header is one list, as RFC 9110 reads it.
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.request_id = f"req_{uuid4().hex[:24]}"
        self.front: dict[str, str] = {}
        self.record = Record(
            scope["method"], self.path + (f"?{self.query}" if self.query else ""), pairs
        )
        self._receive = receive
        self._send = send

    async def read(self, limit: int) -> None:
        """Take the body into the record; of a body over `limit` only a little more than that."""
        body = bytearray()
        # One message beyond the limit is enough to know that the body is too large; the rest is
        # never read.
        while len(body) <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Left
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.record.body = bytes(body)

    async def departure(self) -> None:
        """Return when the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def open(self, status: int, headers: Mapping[str, str]) -> None:
        self.record.status = status
        pairs: list[Any] = [
            (name.encode(), value.encode()) for name, value in {**self.front, **headers}.items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes) -> None:
        if data:
            self.record.note(data)
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self, data: bytes = b"") -> None:
        self.record.note(data)
        self.record.finished = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        await self.open(status, {**headers, "content-length": str(len(data))})
        await self.close(data)
