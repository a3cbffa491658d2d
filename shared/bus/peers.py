"""This process among the others: its inbox and heartbeat, the heartbeats it depends on, and the
news of deaths.

A process lives as long as its heartbeat; whoever depends on the process watches that, and an inbox
that is gone says the rest. Invariant: before `up` is set, the inbox is there, and what an expired
inbox may have swallowed has been failed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import Iterable
from typing import Any

import orjson

from shared.bus import wire
from shared.bus.calls import Calls
from shared.bus.connection import (
    RECONNECT_SECONDS,
    UNREACHABLE,
    milliseconds,
    unavailable,
    with_deadline,
)
from shared.bus.consumer import BLOCK_SECONDS
from shared.bus.deliveries import Deliveries
from shared.bus.link import Link
from shared.bus.watch import Watch
from shared.runtime.alive_file import touch_alive_file
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.log import get_log

READ_AT_ONCE = 500
TRIM_BYTES = 8 * 1024 * 1024  # read and still in Redis; beyond this it goes before the next beat


def new_address(service: str, instance: str) -> str:
    """Return a new address for this process, never used by an earlier process."""
    return f"{service}:{instance}:{os.getpid()}-{secrets.token_hex(4)}"


def moment_of(entry: bytes) -> int:
    """Return the time in the id of a stream entry, in UTC milliseconds of the server's clock."""
    return int(entry.partition(b"-")[0])


class Peers:
    """The heartbeat and the inbox of the process at `address`. The process's `calls` and
    `deliveries` depend on other processes.
    """

    def __init__(self, link: Link, address: str, calls: Calls, deliveries: Deliveries) -> None:
        self._link = link
        self._redis = link.redis
        self._timings = link.timings
        self._address = address
        self._inbox = wire.inbox_key(address)
        self._calls = calls
        self._deliveries = deliveries
        self._lease_ms = milliseconds(link.timings.lease)
        service, _, _ = address.partition(":")
        self._instance = wire.instance_of(address)
        self._identity = {
            "service": service,
            "instance": self._instance,
            "pid": os.getpid(),
            "started_at": time.time(),
        }
        self._facts: dict[str, Any] = {}
        self._beats = itertools.count()
        self._watch = Watch()
        self._last_read: bytes = b"0-0"
        self._untrimmed = 0

    def describe(self, facts: dict[str, Any]) -> None:
        """Add `facts` to the facts shown in the heartbeat."""
        self._facts |= facts

    async def vanish(self) -> None:
        """Delete the inbox and the heartbeat. A later write to the process finds no inbox, and so
        the writer learns of the process's end.
        """
        await self._redis.delete(self._inbox, f"process:{self._address}")
        await self._redis.zrem(wire.PROCESSES, self._address)

    async def listen(self) -> None:
        """Read the inbox until cancelled, and log the loss and the return of Redis."""
        pause, longest = RECONNECT_SECONDS
        while True:
            try:
                # The heartbeat comes before `up` is set: it makes the inbox, and a reply to a
                # missing inbox is dropped. After an outage it also finds out whether the inbox has
                # expired meanwhile, before any new call relies on the inbox.
                await self._beat()
                await self._check_inbox()
                self._link.note_up()
                pause = RECONNECT_SECONDS[0]
                while True:
                    await self._read_inbox()
            except UNREACHABLE as error:
                # No connection may stay with a server that was the primary: behind an address of
                # sentinels the next one is another.
                if self._link.has_sentinels:
                    await self._link.leave_server()
                if self._link.note_down(error):
                    self._calls.fail_all(unavailable(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def keep_beating(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._timings.beat)
            await self._link.up.wait()
            try:
                await self._beat()
            # The listener meets the same loss of Redis and logs it; the heartbeat only tries again.
            # A blocking read notices a frozen host later than the heartbeat does.
            except UNREACHABLE:
                if self._link.has_sentinels:
                    await self._link.leave_server()

    async def _beat(self) -> None:
        """Renew our leases and read the heartbeats of the processes we depend on, in one round
        trip.
        """
        # Watchers count the looks at an unchanged value, so each heartbeat writes a new value.
        beat = str(next(self._beats))
        # A closed channel stays in the list until its last delivery is settled: the XCLAIM below is
        # what keeps that delivery from other servers.
        serving = self._deliveries.still_serving()
        watched = self._watched()
        pipe = self._redis.pipeline(transaction=False)
        # The inbox comes first in the pipeline: `answers[0]` is 0 if the inbox has expired.
        pipe.pexpire(self._inbox, milliseconds(self._timings.inbox))
        pipe.xtrim(self._inbox, minid=self._last_read, approximate=False)
        presence = self._facts | self._identity | {"beat": beat, "beat_at": time.time()}
        pipe.set(f"process:{self._address}", orjson.dumps(presence, default=str), px=self._lease_ms)
        # The answer is `answers[3]`.
        if self._link.has_sentinels:
            pipe.info("replication")
        pipe.zadd(wire.PROCESSES, {self._address: time.time()})
        pipe.pexpire(wire.PROCESSES, milliseconds(self._timings.inbox))
        for served in serving:
            # A channel with a single server lives only as long as that server beats. Any other
            # channel stays, and this process announces itself as one of its servers.
            if served.channel.server:
                pipe.pexpire(served.key, self._lease_ms)
            elif served.open:
                pipe.set(
                    f"serving:{served.channel.name}", f"{self._address} {beat}", px=self._lease_ms
                )
            # A claim of our own entries resets their idle time, so that XAUTOCLAIM of another
            # server leaves them alone. With JUSTID only the ids come back, not the payloads.
            if mine := served.unsettled():
                pipe.xclaim(served.key, wire.GROUP, self._instance, 0, mine, justid=True)
        # The heartbeats of other processes come last in the pipeline, so `answers[-1]` is theirs.
        if watched:
            pipe.mget(watched)
        answers = await with_deadline(pipe.execute(raise_on_error=False))
        await self._link.check_primary(answers)
        if self._link.has_sentinels:
            await self._link.note_replicas(answers[3])
        touch_alive_file()
        if answers[0] == 0:
            await self._create_inbox()
        if watched and isinstance(answers[-1], list):
            self._judge(zip(watched, answers[-1], strict=True))

    async def report_exit(self, service: str, instance: str, pid: int | None) -> None:
        """Notify every process of the death of a process, as `Bus.report_exit` describes."""
        dead = await self._addresses(
            f"{service}:{instance}:" + (f"{pid}-" if pid is not None else "")
        )
        if not dead:
            return
        # The inboxes are deleted before the news is written. A write that comes later finds no
        # inbox; a write that came earlier is answered by the news. No writer falls between the two.
        await self._link.writer.post(
            "DEL", *(f"{kind}:{address}" for kind in ("inbox", "process") for address in dead)
        )
        news = [wire.WireMessage(wire.EXITED, data=address.encode()) for address in dead]
        alive = await self._addresses("")
        await asyncio.gather(
            *(
                wire.write_inbox(self._link.writer.post, *each)
                for each in itertools.product(alive, news)
            )
        )

    async def _addresses(self, prefix: str) -> list[str]:
        keys = await self._link.find_keys(f"inbox:{prefix}")
        return [key.removeprefix("inbox:") for key in keys]

    def _watched(self) -> list[str]:
        peers = self._calls.holders() | self._deliveries.callers()
        return [f"process:{peer}" for peer in peers] + [
            f"serving:{name}" for name in self._calls.waiting_for()
        ]

    def _judge(self, answers: Iterable[tuple[str, bytes | None]]) -> None:
        for key, looks in self._watch.look(answers).items():
            kind, _, name = key.partition(":")
            if kind == "process" and looks * self._timings.beat >= self._timings.lease:
                self._lose(name)
            elif kind == "serving" and looks * self._timings.beat >= self._timings.no_worker:
                self._calls.refuse(name)

    def _lose(self, address: str) -> None:
        """Fail our calls to the dead process at `address`, and notify our handlers of the loss of
        this caller.
        """
        self._calls.lose(address)
        self._deliveries.lose_caller(address)

    async def _check_inbox(self) -> None:
        """Create our inbox anew if the clock of Redis is behind the last entry that we read.

        A primary that died may have shown us entries that no replica had. With its clock behind,
        the next primary would give new entries ids before the last one read, where nobody looks.
        """
        seconds, microseconds = await with_deadline(self._redis.time())
        if moment_of(self._last_read) >= seconds * 1000 + microseconds // 1000:
            await self._create_inbox()

    async def _create_inbox(self) -> None:
        """Create our inbox. Fail every call that used an earlier inbox, because an earlier inbox
        has expired.

        An inbox expires when other processes took us for dead, or when Redis lost its data. A
        cancel that was sent to us meanwhile is lost, so the deliveries in hand end too; their
        callers may have placed the calls after Redis lost its data, and are told.
        """
        # A new stream has the ids of Redis' clock, which may have gone back: behind the last id of
        # the earlier inbox no message would ever be found.
        self._last_read = b"0-0"
        # One transaction: a process that died between the two commands would leave an inbox without
        # a TTL for ever.
        pipe = self._redis.pipeline(transaction=True)
        pipe.execute_command("XADD", self._inbox, "*", *wire.WireMessage(b"hello").fields())
        pipe.pexpire(self._inbox, milliseconds(self._timings.inbox))
        await with_deadline(pipe.execute())
        lost = BusUnavailable("Redis lost this call; send the request again if that is safe.")
        # The replies in the old inbox are gone, so no call can be known to be without a gap.
        self._calls.fail_all(lost)
        self._deliveries.lose_all(lost)

    async def _read_inbox(self) -> None:
        inbox: dict[Any, Any] = {self._inbox: self._last_read}
        found = await with_deadline(
            self._redis.xread(inbox, READ_AT_ONCE, milliseconds(BLOCK_SECONDS)), after=BLOCK_SECONDS
        )
        for entry, fields in (each for _, entries in found for each in entries):
            self._last_read = entry
            try:
                message = wire.WireMessage.read(fields)
            except ClientError as error:
                get_log().warning("bus_message_unreadable", error=error.message)
                continue
            self._untrimmed += len(message.data)
            self._dispatch(message)
        # At the pace of the heartbeat alone a fast server would fill Redis with replies that were
        # read already.
        if self._untrimmed > TRIM_BYTES:
            self._untrimmed = 0
            await with_deadline(
                self._redis.xtrim(self._inbox, minid=self._last_read, approximate=False)
            )

    def _dispatch(self, message: wire.WireMessage) -> None:
        if message.kind == wire.EXITED:
            self._lose(message.data.decode())
        elif message.kind in {wire.CANCEL, wire.GAVE_UP}:
            self._deliveries.cancel(message)
        else:
            self._calls.receive(message)
