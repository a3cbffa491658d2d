"""The types of ASGI, and the reading of a request's body for every raw endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shared.runtime.errors import CallerGone, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


async def read_body(
    receive: Receive,
    headers: dict[bytes, bytes],
    limit: int,
    arrive: Callable[[int], None] = lambda _: None,
) -> bytes:
    """Return the whole request body, and call `arrive` with the size of every arriving piece.

    Raises TooLarge once the body is known to pass `limit` bytes, CallerGone when the client leaves
    in the middle.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(
            f"The request body has {int(announced):,} bytes; this server accepts {limit:,}."
        )
    message = await receive()
    # Most bodies come in one piece, which is returned without a copy.
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        arrive(len(body))
        return within(body, limit)
    pieces = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise CallerGone
        piece = message.get("body", b"")
        arrive(len(piece))
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise TooLarge(
                f"The request body is larger than the {limit:,} bytes this server accepts."
            )
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()


def within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise TooLarge(f"The request body has {len(body):,} bytes; this server accepts {limit:,}.")
    return body
