"""The verbs of the bus, over Redis (6.2 commands only).

Each channel is one stream with one consumer group; each process has one inbox stream for replies,
cancels and news. Losing Redis for a while loses nothing in flight: replies are numbered, written
again, and read on from the last one. Every key has a TTL, but the channels: those have a bound.

The parts: `link` is the connection, `peers` this process among the others, `calls` the calling end
and `deliveries` the serving end, which reads its channels through a `consumer`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

import orjson

from shared.bus import wire
from shared.bus.calls import Call, Calls
from shared.bus.channels import Channel, encode_payload
from shared.bus.connection import UNREACHABLE, milliseconds
from shared.bus.consumer import Consumer
from shared.bus.deliveries import Deliveries, Delivery, Served, Slots
from shared.bus.link import Link
from shared.bus.peers import Peers, new_address
from shared.bus.watch import DEFAULT_TIMINGS, Timings
from shared.runtime.errors import Stopping


class Bus:
    """The connection of a process to the rest of the stack, used as `async with Bus(...)`.

    Entering never raises: the bus connects in the background, and its methods raise BusUnavailable
    until Redis answers.
    """

    def __init__(
        self, url: str, *, service: str, instance: str, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self.address = new_address(service, instance)
        self._link = Link(url, timings)
        self._writer = self._link.writer
        self._ready = self._link.ready
        self._consumer = Consumer(self._link.redis, instance, timings, self._link.up)
        self._calls = Calls(self.address, self._writer.post, self._ready)
        self._deliveries = Deliveries()
        self._peers = Peers(self._link, self.address, self._calls, self._deliveries)

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._peers.listen()),
            asyncio.create_task(self._peers.keep_beating()),
        ]
        await self._link.tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Readers of our calls first: they meet an end even when Redis is away, and the cancels for
        # their servers are queued before the writer stops.
        self._calls.fail_all(Stopping())
        serving = self._deliveries.close()
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(self._link.timings.reconnect):
                # Queued acknowledgements leave before the entries are handed back: an entry whose
                # acknowledgement is still in the queue would run on a second server.
                await self._writer.written()
                await asyncio.gather(*map(self._consumer.hand_back, serving))
                await self._peers.vanish()
        self._link.up.clear()
        # The tasks run until here, because only the listener sets `up` and patient writes wait
        # for it.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.aclose()

    @property
    def connected(self) -> bool:
        return self._link.up.is_set()

    def describe(self, **facts: Any) -> None:
        """Show `facts` beside this process in `processes`, added to the facts described before.

        The facts are visible after the next heartbeat.
        """
        self._peers.describe(facts)

    async def processes(self) -> list[dict[str, Any]]:
        """Return every live process: `service`, `instance`, `pid`, `started_at` and the described
        facts.
        """
        await self._ready()
        members = await self._writer.post("ZRANGE", wire.PROCESSES, 0, -1)
        addresses = sorted(member.decode() for member in members)
        keys = [f"process:{address}" for address in addresses]
        beats = await self._writer.post("MGET", *keys) if keys else []
        found = dict(zip(addresses, beats, strict=True))
        # A process that beats again after all is back with its next heartbeat.
        if gone := [address for address, beat in found.items() if beat is None]:
            await self._writer.post("ZREM", wire.PROCESSES, *gone)
        return [orjson.loads(beat) for beat in beats if beat is not None]

    async def publish(self, channel: Channel, payload: Any) -> None:
        """Write `payload` to `channel` and return when Redis has stored the payload.

        Each payload is delivered at least once; beyond the channel's `max_length` the oldest
        payloads are dropped.
        """
        data = wire.check_size(encode_payload(payload))
        await self._ready()
        await self._writer.post(
            "XADD", wire.channel_key(channel), "MAXLEN", "~", channel.max_length, "*", "data", data
        )

    def call(self, channel: Channel, payload: Any, *, request_id: str | None = None) -> Call:
        """Return a call of `channel`. Entering the call's `async with` block places the call.

        Entering raises BusUnavailable, TooLarge, Busy when `max_length` calls are waiting, or
        NoWorker when the channel's only server is gone.
        """
        return self._calls.new(channel, encode_payload(payload), request_id)

    async def serve(
        self, channel: Channel, *, slots: int | Slots, at_once: int | None = None
    ) -> AsyncGenerator[Delivery, None]:
        """Yield the deliveries of `channel`, as soon as a slot is free. A read takes at most
        `at_once` deliveries, so that channels that share slots hardly take the same ones.

        Closing the generator releases the deliveries that were not yielded to other servers. This
        process keeps the yielded deliveries and must settle them (see `drained`).
        """
        served = Served(
            channel,
            slots if isinstance(slots, Slots) else Slots(slots),
            self._writer.post,
            self.address,
            at_once,
        )
        self._deliveries.served.append(served)
        batch: deque[Delivery] = deque()
        try:
            while True:
                # A slot must be free before the read: an entry that was read but cannot be worked
                # on would be kept from every other server.
                await served.slots.room()
                batch.extend(await self._consumer.take(served, self._deliveries.served))
                while batch:
                    yield batch.popleft()
        finally:
            served.open = False
            # The deliveries that were not yielded leave `held` before the hand-back, which releases
            # only entries that are not held.
            for delivery in batch:
                served.let_go(delivery)
            await self._consumer.hand_back(served)

    async def drained(self) -> None:
        """Return when every delivery taken by this process is settled."""
        await self._deliveries.settled()

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._ready()
        await self._writer.post("SET", key, wire.check_size(value), "PX", milliseconds(ttl))

    async def get(self, key: str) -> bytes | None:
        await self._ready()
        value: bytes | None = await self._writer.post("GET", key)
        return value

    async def delete(self, key: str) -> None:
        await self._ready()
        await self._writer.post("DEL", key)

    async def lease(self, key: str, owner: str, *, ttl: float) -> bool:
        """Give `key` to `owner` for `ttl` seconds, or release the key when `ttl` is 0. Return False
        if another owner holds the key.
        """
        await self._ready()
        return bool(await self._writer.post("EVAL", wire.LEASE, 1, key, owner, milliseconds(ttl)))

    async def run_script(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a Lua `script` on Redis in one step and return the script's answer. Raises
        BusUnavailable.
        """
        await self._ready()
        return await self._writer.post("EVAL", script, len(keys), *keys, *arguments)

    async def waiting(self, channel: Channel) -> int:
        """Return the number of deliveries of `channel` not yet accepted by a server."""
        await self._ready()
        count: int = await self._writer.post("XLEN", wire.channel_key(channel))
        return count

    async def scan(self, prefix: str) -> dict[str, bytes]:
        """Return every value that was `put` under a key with the prefix `prefix`."""
        await self._ready()
        keys = await self._link.find_keys(prefix)
        values = await self._writer.post("MGET", *keys) if keys else []
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def report_exit(self, service: str, instance: str, *, pid: int | None = None) -> None:
        """Notify every process of the death of the process `instance` of `service`, known to the
        supervisor.

        Without `pid` every incarnation of that name counts as dead. Callers and servers of the dead
        process learn of its end at once instead of after its lease.
        """
        await self._ready()
        await self._peers.report_exit(service, instance, pid)
