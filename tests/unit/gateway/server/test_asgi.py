"""A body is read whole, within its limit, and not a byte further."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.server.asgi import read_body
from shared.runtime.errors import CallerGone, TooLarge


def receiving(
    *pieces: bytes, then: str = "http.request"
) -> Callable[[], Awaitable[dict[str, Any]]]:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    messages.append({"type": then, "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


async def test_pieces_are_joined() -> None:
    assert await read_body(receiving(b"a", b"b"), {}, 10) == b"ab"


async def test_a_body_announced_too_large_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match="11 bytes"):
        await read_body(receiving(), {b"content-length": b"11"}, 10)


async def test_a_body_that_grows_too_large_is_refused() -> None:
    with pytest.raises(TooLarge):
        await read_body(receiving(b"x" * 6, b"x" * 6), {}, 10)


async def test_a_caller_that_leaves_while_sending_is_gone() -> None:
    with pytest.raises(CallerGone):
        await read_body(receiving(b"x", then="http.disconnect"), {}, 10)
