"""A reply is told from its beginning, to whoever asks for it; one that nobody asks for again ends
in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sdk_worker.reply import KEPT_BYTES, LeftReplies, Say, TurnReply
from shared.runtime.errors import BusUnavailable, UpstreamError
from tests.support.sdk_stack import Delivered, Shelf


class Turn:
    """Says what it is fed; `None` ends it, an error breaks it off."""

    def __init__(self) -> None:
        self.fed: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def run(self, say: Say) -> None:
        try:
            while (data := await self.fed.get()) is not None:
                if isinstance(data, Exception):
                    raise data
                say(data)
        finally:
            self.ended.set()


@pytest.fixture
def turn() -> Turn:
    return Turn()


def deliver() -> Any:
    return Delivered(body={})


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def left(shelf: Shelf) -> AsyncIterator[LeftReplies]:
    left = LeftReplies(shelf, "me", seconds=60)
    yield left
    await left.end()


async def test_all_of_it_is_told_as_it_comes(turn: Turn) -> None:
    reply, delivery = TurnReply(turn.run), deliver()
    telling = asyncio.create_task(reply.tell(delivery))
    turn.fed.put_nowait(b"a")
    await delivery.until(b"a")
    for data in (b"b", b"c", None):
        turn.fed.put_nowait(data)
    await telling
    assert delivery.replies == [b"a", b"b", b"c"]


async def test_what_broke_it_off_is_raised_when_all_was_told(turn: Turn) -> None:
    reply, delivery = TurnReply(turn.run), deliver()
    turn.fed.put_nowait(b"a")
    turn.fed.put_nowait(UpstreamError("gone"))
    with pytest.raises(UpstreamError, match="gone"):
        await reply.tell(delivery)
    assert delivery.replies == [b"a"]


async def test_who_comes_back_hears_all_of_it(turn: Turn, left: LeftReplies, shelf: Shelf) -> None:
    reply, first, second = TurnReply(turn.run), deliver(), deliver()
    telling = asyncio.create_task(reply.tell(first))
    turn.fed.put_nowait(b"a")
    await first.until(b"a")
    telling.cancel()
    assert left.keep("same", reply)
    turn.fed.put_nowait(b"b")
    taken = left.take("same")
    assert taken is reply
    telling = asyncio.create_task(taken.tell(second))
    await second.until(b"b")
    turn.fed.put_nowait(None)
    await telling
    assert second.replies == [b"a", b"b"]
    assert left.take("same") is None


async def test_others_are_told_where_it_is(turn: Turn, left: LeftReplies, shelf: Shelf) -> None:
    assert left.keep("same", TurnReply(turn.run))
    await shelf.stored.wait()
    assert shelf.values == {"left:same": b"me"}


async def test_what_nobody_asks_for_again_is_broken_off_also_without_redis(turn: Turn) -> None:
    class Away(Shelf):
        async def put(self, key: str, value: bytes, *, ttl: float) -> None:
            raise BusUnavailable

    left = LeftReplies(Away(), "me", seconds=0.01)
    assert left.keep("same", TurnReply(turn.run))
    await turn.ended.wait()
    assert left.take("same") is None


async def test_the_end_of_the_worker_ends_what_it_keeps(turn: Turn, left: LeftReplies) -> None:
    assert left.keep("same", TurnReply(turn.run))
    turn.fed.put_nowait(b"a")
    await left.end()
    assert left.take("same") is None


async def test_what_cannot_be_told_again_is_not_kept(
    turn: Turn, shelf: Shelf, left: LeftReplies
) -> None:
    reply, delivery = TurnReply(turn.run), deliver()
    for data in (b"a", b"x" * KEPT_BYTES, b"c", None):
        turn.fed.put_nowait(data)
    await reply.tell(delivery)
    assert [len(data) for data in delivery.replies] == [1, KEPT_BYTES, 1]
    assert not left.keep("same", reply)
    assert not left.keep("", TurnReply(turn.run))
    assert not LeftReplies(shelf, "me", seconds=0).keep("same", TurnReply(turn.run))


async def test_of_two_alike_one_is_kept(left: LeftReplies) -> None:
    assert left.keep("same", TurnReply(Turn().run))
    assert not left.keep("same", TurnReply(Turn().run))
