"""What a turn says, kept while it runs: a caller whose gateway died may ask again, and hears all of
it.

A turn runs once, and belongs to whoever asks for it: it ends when its caller leaves, and goes on
for a while when the caller was only cut off. A reply too long to be kept whole is told once, as it
comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from shared.bus import Delivery
from shared.bus.channels import left_key
from shared.runtime.errors import BusUnavailable

KEPT_BYTES = 16 * 1024 * 1024

Say = Callable[[bytes], None]


class ReplyStore(Protocol):
    """The verb of the bus needed by the module."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...


class TurnReply:
    """The frames of a turn, kept for repetition. `run` starts at once, and sends the frames to the
    caller.
    """

    def __init__(self, run: Callable[[Say], Awaitable[None]]) -> None:
        self._said: list[bytes] = []
        self._bytes = 0
        self._news = asyncio.Event()
        # A task of its own, because the turn may outlive the delivery that began it.
        self._running: asyncio.Future[None] = asyncio.ensure_future(run(self._say))
        self._running.add_done_callback(self._note_end)

    @property
    def whole(self) -> bool:
        return self._bytes <= KEPT_BYTES

    def _say(self, data: bytes) -> None:
        self._said.append(data)
        self._bytes += len(data)
        self._news.set()

    def _note_end(self, running: asyncio.Future[None]) -> None:
        self._news.set()
        if not running.cancelled():
            running.exception()  # its caller may never come back to hear of it

    async def tell(self, delivery: Delivery) -> None:
        """Send every frame from the beginning to the end, then raise the error that
        ended the turn.
        """
        told = 0
        while told < len(self._said) or not self._running.done():
            if told == len(self._said):
                # No await lies between the look at `_said` and this call, so no frame is missed.
                self._news.clear()
                await self._news.wait()
                continue
            data = self._said[told]
            # A reply that cannot be repeated is freed frame by frame.
            if not self.whole:
                self._said[told] = b""
            told += 1
            await delivery.send(data)
        # The error comes last: a caller that returns also hears what was said before it.
        await self._running

    async def end(self) -> None:
        """Cancel the turn; return when no part of the turn runs."""
        self._running.cancel()
        # `wait` does not raise the error that ended the turn.
        await asyncio.wait([self._running])


class LeftReplies:
    """Replies of cut-off callers, kept for `seconds`. `address` is the worker's address for
    repeated calls.
    """

    def __init__(self, store: ReplyStore, address: str, *, seconds: float) -> None:
        self._store = store
        self._address = address
        self._seconds = seconds
        self._left: dict[str, tuple[TurnReply, asyncio.Task[None]]] = {}

    def keep(self, repeat: str, reply: TurnReply) -> bool:
        """Store `reply`. Return False when the reply cannot be sent again, or no caller could ask
        for it.
        """
        # A second reply under one name would replace the first, which no task could then end.
        if not (repeat and reply.whole and self._seconds) or repeat in self._left:
            return False
        self._left[repeat] = reply, asyncio.create_task(self._give_up(repeat, reply))
        return True

    def take(self, repeat: str) -> TurnReply | None:
        """Return and remove the reply for the caller that has come back."""
        if (found := self._left.pop(repeat, None)) is None:
            return None
        reply, giving_up = found
        giving_up.cancel()
        return reply

    async def end(self) -> None:
        """Cancel all stored replies."""
        while self._left:
            _, (reply, giving_up) = self._left.popitem()
            giving_up.cancel()
            await reply.end()

    async def _give_up(self, repeat: str, reply: TurnReply) -> None:
        # The value leads the repeated call to this worker. Without it the caller only begins a new
        # turn.
        with contextlib.suppress(BusUnavailable):
            await self._store.put(left_key(repeat), self._address.encode(), ttl=self._seconds)
        await asyncio.sleep(self._seconds)
        # Removed before the turn is ended: a caller that comes now must not get a dying reply.
        del self._left[repeat]
        await reply.end()
