"""The one place that talks to Redis (6.2 commands only).

Each channel is one stream with one consumer group; each process has one inbox stream for replies,
cancels and news. A process lives as long as its heartbeat; whoever depends on it watches that, and
an inbox that is gone says the rest. Losing Redis for a while loses nothing in flight: replies are
numbered, written again, and read on from the last one. Every key has a TTL, but the channels: those
have a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Self

import orjson
from redis.exceptions import ResponseError

from shared.bus import wire
from shared.bus.calls import Call, Calls
from shared.bus.channels import Channel, encode_payload
from shared.bus.connection import (
    COMMAND_SECONDS,
    RECONNECT_SECONDS,
    UNREACHABLE,
    open_client,
    unavailable,
    with_deadline,
)
from shared.bus.consumer import BLOCK_SECONDS, Consumer
from shared.bus.deliveries import Delivery, Served, Slots
from shared.bus.watch import DEFAULT_TIMINGS, Timings, Watch
from shared.runtime.alive_file import touch_alive_file
from shared.runtime.errors import BusUnavailable, Stopping
from shared.runtime.log import get_log

READ_AT_ONCE = 500
TRIM_BYTES = 8 * 1024 * 1024  # read and still in Redis; beyond this it goes before the next beat


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class Bus:
    """The connection of one process to the other processes of the stack, used as `async with
    Bus(...)`.

    Entering never raises: the bus connects in the background, and its methods raise BusUnavailable
    until Redis answers.
    """

    def __init__(
        self, url: str, *, service: str, instance: str, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self.address = f"{service}:{instance}:{os.getpid()}-{secrets.token_hex(4)}"
        self._inbox = wire.inbox_key(self.address)
        self._identity = {
            "service": service,
            "instance": instance,
            "pid": os.getpid(),
            "started_at": time.time(),
        }
        self._instance = instance
        self._timings = timings
        self._lease_ms = _ms(timings.lease)
        self._redis = open_client(url)
        self._facts: dict[str, Any] = {}
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._consumer = Consumer(self._redis, instance, timings, self._up)
        self._why_down = ""
        self._down_since = 0.0
        self._last_read: bytes = b"0-0"
        self._untrimmed = 0
        self._beats = itertools.count()
        self._writer = wire.Writer(self._execute, self._up)
        self._calls = Calls(self.address, self._writer.post, self._ready)
        self._served: list[Served] = []
        self._watch = Watch()

    async def __aenter__(self) -> Self:
        self._keepers = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._keep_beating()),
        ]
        await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Readers of our calls first: they meet an end even when Redis is away, and the cancels for
        # their servers are queued before the writer stops.
        self._calls.fail_all(Stopping())
        serving = list(self._served)
        for served in serving:
            served.open = False
            # Deliveries still held are given up: with `held` empty, `hand_back` releases their
            # entries too, so that another server takes them at once instead of after a lease.
            served.held.clear()
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(self._timings.patience):
                # Queued acknowledgements leave before the entries are handed back: an entry whose
                # acknowledgement is still in the queue would run on a second server.
                await self._writer.written()
                await asyncio.gather(*map(self._consumer.hand_back, serving))
                # The inbox goes last. From here each write to this process finds no inbox, which is
                # how its writer learns that this process is gone.
                await self._redis.delete(self._inbox, f"process:{self.address}")
        self._up.clear()
        # The keepers run until here, because only the listener sets `up` and patient writes wait
        # for it.
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self._writer.stop()
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def describe(self, **facts: Any) -> None:
        """Show `facts` beside this process in `processes`, added to the facts described before.

        The facts are visible after the next heartbeat.
        """
        self._facts |= facts

    async def processes(self) -> list[dict[str, Any]]:
        """Return every live process: `service`, `instance`, `pid`, `started_at` and the described
        facts.
        """
        found = await self.scan("process:")
        return [orjson.loads(found[key]) for key in sorted(found)]

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
        self, channel: Channel, *, slots: int | Slots
    ) -> AsyncGenerator[Delivery, None]:
        """Yield the deliveries of `channel`, as soon as a slot is free.

        Closing the generator releases the deliveries that were not yielded to other servers. This
        process keeps the yielded deliveries and must settle them (see `drained`).
        """
        served = Served(
            channel,
            slots if isinstance(slots, Slots) else Slots(slots),
            self._writer.post,
            self.address,
        )
        self._served.append(served)
        batch: deque[Delivery] = deque()
        try:
            while True:
                # A slot must be free before the read: an entry that was read but cannot be worked
                # on would be kept from every other server.
                await served.slots.room()
                batch.extend(await self._consumer.take(served, self._served))
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
        await asyncio.gather(*(served.empty() for served in self._served))

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._ready()
        await self._writer.post("SET", key, wire.check_size(value), "PX", _ms(ttl))

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
        return bool(await self._writer.post("EVAL", wire.LEASE, 1, key, owner, _ms(ttl)))

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
        keys = await self._keys(prefix)
        values = await self._writer.post("MGET", *keys) if keys else []
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def report_exit(self, service: str, instance: str, *, pid: int | None = None) -> None:
        """Notify every process of the death of the process `instance` of `service`, known to the
        supervisor.

        Without `pid` every incarnation of that name counts as dead. Callers and servers of the dead
        process learn of its end at once instead of after its lease.
        """
        await self._ready()
        dead = await self._addresses(
            f"{service}:{instance}:" + (f"{pid}-" if pid is not None else "")
        )
        if not dead:
            return
        # The inboxes are deleted before the news is written. A write that comes later finds no
        # inbox; a write that came earlier is answered by the news. No writer falls between the two.
        await self._writer.post(
            "DEL", *(f"{kind}:{address}" for kind in ("inbox", "process") for address in dead)
        )
        news = [wire.WireMessage(wire.EXITED, data=address.encode()) for address in dead]
        alive = await self._addresses("")
        await asyncio.gather(
            *(wire.write_inbox(self._writer.post, *each) for each in itertools.product(alive, news))
        )

    async def _addresses(self, prefix: str) -> list[str]:
        return [key.removeprefix("inbox:") for key in await self._keys(f"inbox:{prefix}")]

    async def _keys(self, prefix: str) -> list[str]:
        """Return the keys with the prefix `prefix`, found by SCAN so that Redis is never blocked.
        Raises BusUnavailable.
        """
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return sorted(
                    {key.decode() async for key in self._redis.scan_iter(pattern, count=1000)}
                )
        except UNREACHABLE as error:
            raise unavailable(error) from error

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._timings.beat)
            await self._up.wait()
            # The listener meets the same loss of Redis and logs it; the heartbeat only tries again.
            with contextlib.suppress(*UNREACHABLE):
                await self._beat()

    async def _beat(self) -> None:
        """Renew our leases and read the heartbeats of the processes we depend on, in one round
        trip.
        """
        # Watchers count the looks at an unchanged value, so each heartbeat writes a new value.
        beat = str(next(self._beats))
        # A closed channel stays in the list until its last delivery is settled: the XCLAIM below is
        # what keeps that delivery from other servers.
        self._served = [served for served in self._served if served.open or served.held]
        watched = self._watched()
        pipe = self._redis.pipeline(transaction=False)
        # The inbox comes first in the pipeline: `answers[0]` is 0 if the inbox has expired.
        pipe.pexpire(self._inbox, _ms(self._timings.inbox))
        pipe.xtrim(self._inbox, minid=self._last_read, approximate=False)
        presence = self._facts | self._identity | {"beat": beat}
        pipe.set(f"process:{self.address}", orjson.dumps(presence, default=str), px=self._lease_ms)
        for served in self._served:
            # A channel with a single server lives only as long as that server beats. Any other
            # channel stays, and this process announces itself as one of its servers.
            if served.channel.server:
                pipe.pexpire(served.key, self._lease_ms)
            elif served.open:
                pipe.set(
                    f"serving:{served.channel.name}", f"{self.address} {beat}", px=self._lease_ms
                )
            # A claim of our own entries resets their idle time, so that XAUTOCLAIM of another
            # server leaves them alone. With JUSTID only the ids come back, not the payloads.
            if mine := served.unsettled():
                pipe.xclaim(served.key, wire.GROUP, self._instance, 0, mine, justid=True)
        # The heartbeats of other processes come last in the pipeline, so `answers[-1]` is theirs.
        if watched:
            pipe.mget(watched)
        answers = await with_deadline(pipe.execute(raise_on_error=False))
        touch_alive_file()
        if answers[0] == 0:
            await self._move_in()
        if watched and isinstance(answers[-1], list):
            self._judge(zip(watched, answers[-1], strict=True))

    def _deliveries(self) -> list[Delivery]:
        return [delivery for served in self._served for delivery in served.held.values()]

    def _watched(self) -> list[str]:
        peers = self._calls.holders() | {
            delivery.caller for delivery in self._deliveries() if delivery.caller
        }
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
        for delivery in self._deliveries():
            if delivery.caller == address:
                delivery.caller_lost = True
                delivery.caller_gone.set()

    async def _move_in(self) -> None:
        """Create our inbox. Fail every call that used an earlier inbox, because an earlier inbox
        has expired.

        An inbox expires when other processes took us for dead, or when Redis lost its data. A
        cancel that was sent to us meanwhile is lost, so the deliveries in hand end too; their
        callers may have placed the calls after Redis lost its data, and are told.
        """
        # One transaction: a process that died between the two commands would leave an inbox without
        # a TTL for ever.
        pipe = self._redis.pipeline(transaction=True)
        pipe.execute_command("XADD", self._inbox, "*", *wire.WireMessage(b"hello").fields())
        pipe.pexpire(self._inbox, _ms(self._timings.inbox))
        await with_deadline(pipe.execute())
        lost = BusUnavailable("Redis lost this call; send the request again if that is safe.")
        # The replies in the old inbox are gone, so no call can be known to be without a gap.
        self._calls.fail_all(lost)
        for delivery in (each for each in self._deliveries() if each.caller):
            delivery.lose(lost)

    async def _listen(self) -> None:
        """Read the inbox until cancelled, and log the loss and the return of Redis."""
        pause, longest = RECONNECT_SECONDS
        while True:
            try:
                # The heartbeat comes before `up` is set: it makes the inbox, and a reply to a
                # missing inbox is dropped. After an outage it also finds out whether the inbox has
                # expired meanwhile, before any new call relies on the inbox.
                await self._beat()
                self._up.set()
                self._tried.set()
                get_log().info("bus_connected")
                pause = RECONNECT_SECONDS[0]
                while True:
                    await self._read_inbox()
            except UNREACHABLE as error:
                self._set_down(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _read_inbox(self) -> None:
        inbox: dict[Any, Any] = {self._inbox: self._last_read}
        found = await with_deadline(
            self._redis.xread(inbox, READ_AT_ONCE, _ms(BLOCK_SECONDS)), after=BLOCK_SECONDS
        )
        for entry, fields in (each for _, entries in found for each in entries):
            message = wire.WireMessage.read(fields)
            self._last_read = entry
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
            for delivery in self._deliveries():
                # Every process counts its calls from 1, so a call number means nothing without its
                # caller.
                if delivery.caller == message.data.decode() and delivery.call == message.call:
                    delivery.caller_gave_up = message.kind == wire.GAVE_UP
                    delivery.caller_gone.set()
        else:
            self._calls.receive(message)

    def _set_down(self, error: BaseException) -> None:
        now = asyncio.get_running_loop().time()
        # Only the first failure of an outage is logged and starts the clock, also when Redis was
        # never there; the attempts that follow are the same outage.
        if self._up.is_set() or not self._tried.is_set():
            get_log().warning("bus_lost", error=str(error))
            self._down_since = now
        self._why_down = str(error) or type(error).__name__
        self._up.clear()
        self._tried.set()
        # A shorter loss fails no call: its messages are numbered, written again, and read on from
        # the last one.
        if now - self._down_since > self._timings.outage:
            self._calls.fail_all(unavailable(error))

    async def _ready(self) -> None:
        """Wait at most `timings.patience` seconds for Redis. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(self._timings.patience):
                await self._up.wait()
        except TimeoutError:
            raise unavailable(self._why_down) from None

    async def _execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            answers = await with_deadline(pipe.execute(raise_on_error=False))
        except UNREACHABLE as error:
            raise unavailable(error) from error
        # A ResponseError belongs to one command. Raised, it would tell the writer that the outcome
        # of the whole batch is unknown, and every patient command in it would be written again.
        return [
            unavailable(answer) if isinstance(answer, ResponseError) else answer
            for answer in answers
        ]
