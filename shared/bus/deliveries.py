"""The serving end of the bus: a delivery in a server's hands, taken from a channel, accepted,
answered, settled; and all deliveries of a process.

No Redis in here: what is to be written goes through the `post` it is given. Invariant: a slot is
taken from the moment an entry was read until the delivery is settled, so nobody reads more than it
can work on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Any

from shared.bus.channels import Channel, encode_payload
from shared.bus.states import DELIVERY, DeliveryEvent, DeliveryState
from shared.bus.wire import (
    ACCEPTED,
    END,
    ERROR,
    GAVE_UP,
    GROUP,
    REPLY,
    Post,
    WireMessage,
    channel_key,
    check_size,
    claim,
    write_inbox,
)
from shared.runtime.errors import CallerGone, CCProxyError


class Delivery:
    """A request or record in the care of a server.

    The server must call `finish`, `fail` or `ack`, which frees the slot and never raises because
    the caller left. `caller_gone` is set when no caller waits for the answer any more;
    `caller_lost` is true when the caller died, `caller_gave_up` when the caller found no server in
    time and may place the call again.
    """

    def __init__(self, served: Served, entry: bytes, fields: dict[bytes, bytes]) -> None:
        # An entry of any other form is a delivery too: without it nobody would take the entry out
        # of the channel.
        self.request_id = fields.get(b"id", b"").decode(errors="replace")
        self.payload = fields.get(b"data", b"")
        self.caller_gone = asyncio.Event()
        self.caller_lost = False
        self.caller_gave_up = False
        # "": published, nobody waits
        self.caller = fields.get(b"inbox", b"").decode(errors="replace")
        self.call = fields.get(b"call", b"")
        self.entry = entry
        self.state: DeliveryState = DELIVERY.beginning
        self._served = served
        self._post = served.post
        self._attempt = secrets.token_hex(4).encode()
        self._sent = 0
        self._lost: CCProxyError | None = None

    async def accept(self) -> None:
        """Send the caller the name of this server as the call's server; an `on_accept` delivery
        then belongs to this server.

        Raises CallerGone when the caller is gone or another server was quicker. The server then
        only calls `finish`.
        """
        if self.state != "held":
            return
        channel = self._served.channel
        address = self._served.address
        message = WireMessage(ACCEPTED, self.call, self._attempt, 0, address.encode())
        if channel.acknowledged == "on_accept":
            # One step in Redis takes the entry out of the channel and tells the caller, so that a
            # crash leaves no caller that waits for a server's name.
            _, state = await claim(
                self._post, channel, self.entry, address, tell=self.caller, message=message
            )
            outcome: DeliveryEvent = state.decode()
        else:
            # The entry stays in the channel until `ack`, for the next server if this one dies. A
            # published record has no caller to tell.
            delivered = not self.caller or await write_inbox(self._post, self.caller, message)
            outcome = "accepted" if delivered else "abandoned"
        # A lost race leaves `held` too: `finish` must not claim again, and the heartbeat must no
        # longer keep the entry from its new server.
        self.advance(outcome)
        if outcome != "accepted":
            self._leave()

    async def send(self, data: bytes) -> None:
        """Send `data` as the next reply and return when Redis has stored the reply. Raises
        CallerGone.
        """
        await self.accept()
        if self.caller_gone.is_set():
            raise CallerGone
        await self._tell(REPLY, check_size(data))

    def lose(self, error: CCProxyError) -> None:
        """End the work because a cancel may have been lost, not because the caller is known to be
        gone: the last message to the caller is `error`, whatever the server ends the delivery with.
        """
        if not self.caller_gone.is_set():
            self._lost = error
            self.caller_gone.set()

    async def finish(self) -> None:
        await self._end(END, b"")

    async def fail(self, error: CCProxyError) -> None:
        await self._end(ERROR, encode_payload(error.as_dict()))

    async def ack(self) -> None:
        """Take the delivery out of the channel without a further message to the caller."""
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
        # The caller of a lost delivery may still be there, although `caller_gone` is set, and would
        # take a plain end for a complete answer.
        if self._lost is not None:
            kind = ERROR
            data = encode_payload(self._lost.as_dict())
        try:
            if self.caller and (self._lost is not None or not self.caller_gone.is_set()):
                await self.accept()
                await self._tell(kind, data)
        except CallerGone:
            pass
        finally:
            # The entry is acknowledged after the last message. A crash between the two runs a
            # `when_done` delivery again; the reverse order would leave its caller without an end.
            await self.ack()

    async def _tell(self, kind: bytes, data: bytes) -> None:
        # The number is taken before the write: the caller drops a number it has seen, and a write
        # of unknown outcome is repeated with the same number.
        self._sent += 1
        message = WireMessage(kind, self.call, self._attempt, self._sent, data)
        if await write_inbox(self._post, self.caller, message) is None:
            self.advance("abandoned")
            self._leave()

    def _acknowledge(self) -> asyncio.Future[tuple[Any, Any]]:
        return asyncio.gather(
            self._post("XACK", self._served.key, GROUP, self.entry, patient=True),
            self._post("XDEL", self._served.key, self.entry, patient=True),
        )

    def advance(self, event: DeliveryEvent) -> None:
        self.state = DELIVERY.advance(self.state, event)

    def _leave(self) -> None:
        self.caller_gone.set()
        raise CallerGone


class Slots:
    """The number of deliveries in work on a server at the same time. Several channels may share one
    `Slots`.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self._freed = asyncio.Event()

    def take(self, count: int = 1) -> None:
        """Take `count` slots. `free` becomes negative when two channels that share the slots read
        at the same time.
        """
        self.free -= count

    def give_back(self) -> None:
        self.free += 1
        self._freed.set()

    async def room(self) -> None:
        while self.free < 1:
            # No await stands between the look at `free` and the clear, so no freed slot is missed.
            self._freed.clear()
            await self._freed.wait()


class Served:
    """A channel as served by a server: the slots and the held deliveries. `address` is the server's
    own. A read takes at most `at_once` deliveries; None: as many as there are free slots.
    """

    def __init__(
        self, channel: Channel, slots: Slots, post: Post, address: str, at_once: int | None = None
    ) -> None:
        self.channel = channel
        self.slots = slots
        self._at_once = at_once
        self.post = post
        self.address = address
        self.key = channel_key(channel)
        self.held: dict[bytes, Delivery] = {}
        self.open = True
        self.history: bytes | None = (
            b"0"  # how far this consumer's own old pending entries were read; None: all
        )
        self.claim_cursor: bytes = b"0-0"
        self.next_claim = 0.0  # loop time
        self._settled = asyncio.Event()

    @property
    def room(self) -> int:
        """Return the number of entries that the next read may take."""
        return self.slots.free if self._at_once is None else min(self.slots.free, self._at_once)

    def unsettled(self) -> list[int | bytes | str | memoryview]:
        """Return the held entries still counted by Redis as pending for this consumer."""
        once = self.channel.acknowledged == "on_accept"
        return [
            entry for entry, delivery in self.held.items() if not once or delivery.state == "held"
        ]

    def hold(self, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Delivery]:
        """Return new deliveries for `entries` and take a slot for every delivery.

        Entries that are held already (this server was slow and claimed its own entry) and entries
        that were trimmed in the meantime are left out.
        """
        new = [
            Delivery(self, entry, fields)
            for entry, fields in entries
            if fields and entry not in self.held
        ]
        self.held |= {delivery.entry: delivery for delivery in new}
        self.slots.take(len(new))
        return new

    def let_go(self, delivery: Delivery) -> None:
        delivery.advance("settle")
        # A delivery may be let go twice, once by a closing bus and once by its handler; only the
        # first time frees the slot.
        if self.held.pop(delivery.entry, None) is not None:
            self.slots.give_back()
        self._settled.set()

    async def empty(self) -> None:
        while self.held:
            self._settled.clear()
            await self._settled.wait()


class Deliveries:
    """Every channel served by a process, and the deliveries held by the process."""

    def __init__(self) -> None:
        self.served: list[Served] = []

    def still_serving(self) -> list[Served]:
        """Return the channels that are open or hold deliveries, and forget the rest."""
        self.served = [served for served in self.served if served.open or served.held]
        return self.served

    def close(self) -> list[Served]:
        """Stop serving, and give up the deliveries still held. Return the channels."""
        serving = list(self.served)
        for served in serving:
            served.open = False
            # With `held` empty, handing the channel back releases these entries too, so that
            # another server takes them at once instead of after a lease.
            served.held.clear()
        return serving

    async def settled(self) -> None:
        """Return when every delivery is settled."""
        await asyncio.gather(*(served.empty() for served in self.served))

    def callers(self) -> set[str]:
        """Return the addresses of the processes that wait for our answers."""
        return {delivery.caller for delivery in self._all() if delivery.caller}

    def cancel(self, message: WireMessage) -> None:
        """Handle a caller's `cancel` or `gave up`."""
        for delivery in self._all():
            # Every process counts its calls from 1, so a call number means nothing without its
            # caller.
            if delivery.caller == message.data.decode() and delivery.call == message.call:
                delivery.caller_gave_up = message.kind == GAVE_UP
                delivery.caller_gone.set()

    def lose_caller(self, address: str) -> None:
        """Handle the death of the process at `address`."""
        for delivery in self._all():
            if delivery.caller == address:
                delivery.caller_lost = True
                delivery.caller_gone.set()

    def lose_all(self, error: CCProxyError) -> None:
        """End every delivery with a caller, because a cancel may have been lost."""
        for delivery in self._all():
            if delivery.caller:
                delivery.lose(error)

    def _all(self) -> list[Delivery]:
        return [delivery for served in self.served for delivery in served.held.values()]
