"""The sending of a message with its mark: before or after, as the way wants it.

Invariant: a way whose messages people read sends none twice; a way whose receiver knows ids loses
none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from permission_service.notify.links import LinkTokens
from permission_service.notify.messages import Notification
from permission_service.notify.posting import SendFailed
from permission_service.notify.ways import Way
from shared.runtime.errors import BusUnavailable

# Notes that the message has left or is about to (True), or that it did not leave after all.
Mark = Callable[[bool], Awaitable[None]]


async def send_marked(
    way: Way, message: Notification, links: LinkTokens | None, mark: Mark
) -> None:
    """Send `message` by `way`, and `mark` the message. Raises SendFailed, BusUnavailable."""
    if way.marked_first:
        # A process that is killed during the sending leaves a mark behind, and its successor
        # sends nothing: one message too few is better than two.
        await mark(True)
    try:
        await way.send(message, links)
    except SendFailed:
        # Nothing has arrived, so the next process may try again.
        if way.marked_first:
            with contextlib.suppress(BusUnavailable):
                await mark(False)
        raise
    if not way.marked_first:
        # Without the mark the next process sends the event again, and its id tells.
        with contextlib.suppress(BusUnavailable):
            await mark(True)


class MessageBook(Protocol):
    """The alerts or reports behind messages, with the ways that have sent each."""

    def waits(self, message_id: str, way: str, /) -> bool:
        """Return True while `way` has to send the message."""

    async def mark(self, message_id: str, way: str, /, *, sent: bool) -> None:
        """Note that `way` has sent the message or is about to, or that it did not leave after all.
        Raises BusUnavailable.
        """


class MarkedAttempt:
    """The attempts to send a message of `book` by one way."""

    def __init__(self, way: Way, message: Notification, book: MessageBook) -> None:
        self._way = way
        self._message = message
        self._book = book

    async def make(self) -> bool:
        """Send the message. Return False when it is out of date. Raises SendFailed,
        BusUnavailable.
        """
        if not self._book.waits(self._message.id, self._way.name):
            return False
        await send_marked(self._way, self._message, None, self._mark)
        return True

    async def _mark(self, sent: bool) -> None:
        await self._book.mark(self._message.id, self._way.name, sent=sent)
