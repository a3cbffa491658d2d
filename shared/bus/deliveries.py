"""The serving end of the bus: a delivery in a server's hands, taken from a channel, accepted, answered, settled.

No Redis in here: what is to be written goes through the `post` it is given. Invariant: a slot is taken from the moment
an entry was read until the delivery is settled, so nobody reads more than it can work on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Any

from shared.bus.wire import (
    ACCEPTED,
    END,
    ERROR,
    GROUP,
    REPLY,
    Message,
    Post,
    channel_key,
    check_size,
    claim,
    write_inbox,
)
from shared.channels import Channel, encode
from shared.errors import CallerGone, CCProxyError


class Delivery:
    """One request or record. Whoever takes it owes it a `finish`, `fail` or `ack`, which frees its slot and does not
    raise when the caller left. `caller_gone` is set when nobody waits for the answer any more; `caller_lost` says that
    it did not leave, but died."""

    def __init__(self, served: Served, entry: bytes, fields: dict[bytes, bytes]) -> None:
        self.request_id = fields.get(b"id", b"").decode()
        self.payload = fields[b"data"]
        self.caller_gone = asyncio.Event()
        self.caller_lost = False
        self.caller = fields.get(b"inbox", b"").decode()  # "": published, nobody waits
        self.call = fields.get(b"call", b"")
        self.entry = entry
        self.accepted = False
        self._served, self._post = served, served.post
        self._attempt = secrets.token_hex(4).encode()
        self._sent = 0

    async def accept(self) -> None:
        """Say who has the call; an `on_accept` delivery is this server's from now on. Raises CallerGone when the caller
        is gone or another server was quicker: there is nothing to do but `finish`."""
        if self.accepted:
            return
        channel, address = self._served.channel, self._served.address
        message = Message(ACCEPTED, self.call, self._attempt, 0, address.encode())
        if channel.acknowledged == "on_accept":
            holder, told = await claim(self._post, channel, self.entry, address, tell=self.caller, message=message)
            told = told and holder == address.encode()
        else:
            told = not self.caller or await write_inbox(self._post, self.caller, message)
        self.accepted = True
        if not told:
            self._leave()

    async def send(self, data: bytes) -> None:
        """One reply, in order; returns when Redis has it. Raises CallerGone."""
        await self.accept()
        await self._tell(REPLY, check_size(data))

    async def finish(self) -> None:
        await self._end(END, b"")

    async def fail(self, error: CCProxyError) -> None:
        await self._end(ERROR, encode(error.as_dict()))

    async def ack(self) -> None:
        """Take the delivery out of the channel; its caller, if any, hears nothing further."""
        try:
            if self._served.channel.acknowledged == "on_accept":
                await self.accept()
            else:
                await self._acknowledge()
        except CallerGone:
            pass
        finally:
            self._served.let_go(self)

    async def _end(self, kind: bytes, data: bytes) -> None:
        try:
            if self.caller and not self.caller_gone.is_set():
                await self.accept()
                await self._tell(kind, data)
        except CallerGone:
            pass
        finally:
            await self.ack()

    async def _tell(self, kind: bytes, data: bytes) -> None:
        if self.caller_gone.is_set():
            raise CallerGone
        self._sent += 1
        message = Message(kind, self.call, self._attempt, self._sent, data)
        if await write_inbox(self._post, self.caller, message) is None:
            self._leave()

    def _acknowledge(self) -> asyncio.Future[tuple[Any, Any]]:
        return asyncio.gather(
            self._post("XACK", self._served.key, GROUP, self.entry, patient=True),
            self._post("XDEL", self._served.key, self.entry, patient=True),
        )

    def _leave(self) -> None:
        self.caller_gone.set()
        raise CallerGone


class Slots:
    """How many deliveries a server works on beside each other; several channels may share them."""

    def __init__(self, count: int) -> None:
        self.free = count
        self._freed = asyncio.Event()

    def take(self, count: int = 1) -> None:
        """A channel read before another took the last one may take it all the same."""
        self.free -= count

    def give_back(self) -> None:
        self.free += 1
        self._freed.set()

    async def room(self) -> None:
        while self.free < 1:
            self._freed.clear()
            await self._freed.wait()


class Served:
    """A channel as one server serves it: its slots and what it holds. `address` is the server's own."""

    def __init__(self, channel: Channel, slots: Slots, post: Post, address: str) -> None:
        self.channel, self.slots, self.post, self.address = channel, slots, post, address
        self.key = channel_key(channel)
        self.held: dict[bytes, Delivery] = {}
        self.open = True
        self.history: bytes | None = b"0"  # how far this consumer's own old pending entries were read; None: all
        self.claim_cursor: bytes = b"0-0"
        self.next_claim = 0.0  # loop time
        self._settled = asyncio.Event()

    def unsettled(self) -> list[int | bytes | str | memoryview]:
        """Entries that Redis still counts as ours to do."""
        once = self.channel.acknowledged == "on_accept"
        return [entry for entry, delivery in self.held.items() if not (once and delivery.accepted)]

    def hold(self, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Delivery]:
        """New deliveries of `entries`. What is held already (we were slow and claimed it from ourselves) and what was
        trimmed away in the meantime is left out."""
        new = [Delivery(self, entry, fields) for entry, fields in entries if fields and entry not in self.held]
        self.held |= {delivery.entry: delivery for delivery in new}
        self.slots.take(len(new))
        return new

    def let_go(self, delivery: Delivery) -> None:
        if self.held.pop(delivery.entry, None) is not None:
            self.slots.give_back()
        self._settled.set()

    async def empty(self) -> None:
        while self.held:
            self._settled.clear()
            await self._settled.wait()
