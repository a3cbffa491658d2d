"""Reading a channel's consumer group: the entries that the slots of one server have room for.

Invariant: no entry is read twice by one process, and no entry stays for ever with a process that is
gone: its successor of the same name reads it, or another server claims it after a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, ResponseError

from shared.bus import wire
from shared.bus.connection import RECONNECT_SECONDS, UNREACHABLE, milliseconds, with_deadline
from shared.bus.deliveries import Delivery, Served
from shared.bus.watch import Timings
from shared.runtime.log import get_log

BLOCK_SECONDS = 2.0  # one blocking read; it only bounds how long a dead connection goes unnoticed
FORGET_CONSUMER_MS = 3_600_000


class Consumer:
    """The consumer `name` of every channel's group. `up` is set while Redis answers."""

    def __init__(self, redis: Redis, name: str, timings: Timings, up: asyncio.Event) -> None:
        self._redis = redis
        self._name = name
        self._timings = timings
        self._lease_ms = milliseconds(timings.lease)
        self._up = up

    async def take(self, served: Served, serving: Iterable[Served]) -> list[Delivery]:
        """Return new deliveries for the free slots of `served`; the list may be empty.

        `serving` is every channel that this process serves: two of them may be the same channel.
        """
        await self._up.wait()
        try:
            entries = await self._next_entries(served)
        except UNREACHABLE as error:
            # NOGROUP: the channel is new, or Redis lost its data. UNBLOCKED: the channel was there
            # when the read began and was deleted while the read blocked.
            if str(error).startswith(("NOGROUP", "UNBLOCKED")):
                with contextlib.suppress(*UNREACHABLE):
                    await self._open_channel(served)
            # Redis refuses for a reason that another attempt will not cure, such as a lack of
            # memory: log it, and do not ask in a tight loop.
            # A server that has become a replica is left by the next heartbeat.
            elif isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError):
                get_log().error("bus_take_refused", channel=served.channel.name, error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS[-1])
            else:
                # the listener says so, and when it is over
                await asyncio.sleep(RECONNECT_SECONDS[0])
            return []
        # All servings of one channel in this process read as the same consumer, so the history or a
        # claim may return an entry held by another serving. The set is made after the read, because
        # the other serving may have taken entries meanwhile.
        held = {entry for each in serving if each.channel == served.channel for entry in each.held}
        return served.hold((entry, fields) for entry, fields in entries if entry not in held)

    async def _open_channel(self, served: Served) -> None:
        """Create the consumer group at the beginning of the stream: calls that were placed before
        any server existed are served too.
        """
        pipe = self._redis.pipeline(transaction=True)
        pipe.xgroup_create(served.key, wire.GROUP, id="0", mkstream=True)
        if served.channel.server:
            pipe.pexpire(served.key, self._lease_ms)
        await with_deadline(pipe.execute(raise_on_error=False))

    async def _next_entries(self, served: Served) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Return entries for the free slots: own pending entries, else entries of lost servers,
        else new entries.

        Own pending entries were left by an earlier process of this name. A lost server has been
        silent for a lease (XAUTOCLAIM).
        """
        key = served.key
        free = served.room
        now = asyncio.get_running_loop().time()
        read = partial(self._redis.xreadgroup, wire.GROUP, self._name, count=free)
        # Once after the start: the entries that an earlier process of this name took and did not
        # settle.
        if served.history is not None:
            [[_, entries]] = await with_deadline(read({key: served.history}))
            # The read returned at most `free` entries; the next call goes on after the last of
            # them.
            served.history = entries[-1][0] if entries else None
            if not entries:
                await self._forget_consumers(key)
            return list(entries)
        # Three times in a lease: entries of consumers that have gone silent. The cursor walks
        # through the stream.
        if now >= served.next_claim:
            served.claim_cursor, entries, *_ = await with_deadline(
                self._redis.xautoclaim(
                    key, wire.GROUP, self._name, self._lease_ms, served.claim_cursor, free
                )
            )
            # A cursor of 0-0 ends a walk through the whole stream, and only then begins the pause:
            # a walk in several steps goes on with the next call.
            if served.claim_cursor == b"0-0":
                served.next_claim = now + self._timings.lease / 3
            return list(entries)
        # Else wait for a new entry, but not beyond the next look at silent consumers.
        block = min(BLOCK_SECONDS, served.next_claim - now)
        # At least 1 ms, because to Redis a block of 0 means to wait for ever.
        found = await with_deadline(
            read({key: ">"}, block=max(1, milliseconds(block))), after=block
        )
        return [entry for _, entries in found for entry in entries]

    async def hand_back(self, served: Served) -> None:
        """Release the entries pending under our consumer name and not held, for other servers to
        take at once.
        """
        if not self._up.is_set():
            return
        with contextlib.suppress(*UNREACHABLE):
            # No other server may serve this channel. Its callers see that the channel is gone.
            if served.channel.server:
                await with_deadline(self._redis.delete(served.key))
                return
            pending = await with_deadline(
                self._redis.xpending_range(served.key, wire.GROUP, "-", "+", 1000, self._name)
            )
            if ids := [
                entry["message_id"] for entry in pending if entry["message_id"] not in served.held
            ]:
                # The entries stay under our name with the idle time of a whole lease, so the next
                # XAUTOCLAIM of any server takes them.
                hand_over = partial(self._redis.xclaim, idle=self._lease_ms, justid=True)
                await with_deadline(hand_over(served.key, wire.GROUP, self._name, 0, ids))

    async def _forget_consumers(self, key: str) -> None:
        """Delete consumers idle for FORGET_CONSUMER_MS: Redis keeps the names of consumers for
        ever.
        """
        for consumer in await with_deadline(self._redis.xinfo_consumers(key, wire.GROUP)):
            # A consumer with pending entries stays: deleting a consumer deletes the record of its
            # entries, and no server could claim them any more.
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_CONSUMER_MS:
                await with_deadline(
                    self._redis.xgroup_delconsumer(key, wire.GROUP, consumer["name"])
                )
