"""Responses to HTTP/1.0, a version without chunks: a body of unknown length ends with its
connection.

uvicorn writes chunks to every client. Here a response without a length is sent unchanged, and the
connection closed afterwards (RFC 9112, 6.1 and 6.3).
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.server.asgi import Message


class UnchunkedCycle(RequestResponseCycle):
    """A request of HTTP/1.0 and the response."""

    _ends_with_connection = False

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if message["type"] == "http.response.start":
            self._ends_with_connection = all(
                name != b"content-length" for name, _ in message.get("headers", [])
            )
        if self._ends_with_connection:
            self.chunked_encoding = False
            self.keep_alive = False
            # uvicorn compares every piece with the remaining length
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]
