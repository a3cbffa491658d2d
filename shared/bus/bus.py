"""The one place that talks to Redis (6.2 commands only).

Each channel is one stream with one consumer group; each process has one inbox stream for replies, cancels and news.
A process lives as long as its heartbeat; whoever depends on it watches that, and an inbox that is gone says the rest.
Losing Redis for a while loses nothing in flight: replies are numbered, written again, and read on from the last one.
Every key has a TTL, but the channels: those have a bound.
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
from functools import partial
from typing import Any, Self

import orjson
from redis.exceptions import ResponseError

from shared.alive_file import touch_alive_file
from shared.bus import wire
from shared.bus.calls import Call, Calls
from shared.bus.connection import COMMAND_SECONDS, UNREACHABLE, open_client, soon, unavailable
from shared.bus.deliveries import Delivery, Served, Slots
from shared.bus.watch import DEFAULT_TIMINGS, Timings, Watch
from shared.channels import Channel, encode
from shared.errors import BusUnavailable, Stopping
from shared.log import get_log

BLOCK_SECONDS = 2.0  # one blocking read; it only bounds how long a dead connection goes unnoticed
RECONNECT_SECONDS = (0.02, 1.0)  # first and longest pause between attempts
READ_AT_ONCE = 500
TRIM_BYTES = 8 * 1024 * 1024  # read and still in Redis; beyond this it goes before the next beat
FORGET_CONSUMER_MS = 3_600_000


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class Bus:
    """One process's connection to the others. `async with` it; connecting never raises, it is retried while the verbs
    raise BusUnavailable."""

    def __init__(self, url: str, *, service: str, instance: str, timings: Timings = DEFAULT_TIMINGS) -> None:
        self.address = f"{service}:{instance}:{os.getpid()}-{secrets.token_hex(4)}"
        self._inbox = wire.inbox_key(self.address)
        self._identity = {"service": service, "instance": instance, "pid": os.getpid(), "started_at": time.time()}
        self._consumer = instance
        self._timings, self._lease_ms = timings, _ms(timings.lease)
        self._redis = open_client(url)
        self._facts: dict[str, Any] = {}
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._why_down, self._down_since = "", 0.0
        self._last_read: bytes = b"0-0"
        self._untrimmed = 0
        self._beats = itertools.count()
        self._writer = wire.Writer(self._execute, self._up)
        self._calls = Calls(self.address, self._writer.post, self._ready)
        self._served: list[Served] = []
        self._watch = Watch()

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_beating())]
        await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._calls.fail_all(Stopping())
        serving = list(self._served)
        for served in serving:
            served.open = False
            served.held.clear()
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(self._timings.patience):
                await self._writer.written()
                await asyncio.gather(*map(self._hand_back, serving))
                await self._redis.delete(self._inbox, f"process:{self.address}")
        self._up.clear()
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
        """Facts shown beside this process in `processes`, added to those told before; seen within a beat."""
        self._facts |= facts

    async def processes(self) -> list[dict[str, Any]]:
        """Who is alive: `service`, `instance`, `pid`, `started_at` and what each told about itself."""
        found = await self.scan("process:")
        return [orjson.loads(found[key]) for key in sorted(found)]

    async def publish(self, channel: Channel, payload: Any) -> None:
        """Returns when Redis has it. Delivered at least once; beyond `max_length` the oldest are dropped."""
        data = wire.check_size(encode(payload))
        await self._ready()
        await self._writer.post("XADD", wire.channel_key(channel), "MAXLEN", "~", channel.max_length, "*", "data", data)

    def call(self, channel: Channel, payload: Any, *, request_id: str | None = None) -> Call:
        """Entering the call places it: raises BusUnavailable, TooLarge, Busy when `max_length` are waiting, or NoWorker
        when the channel's only server is gone."""
        return self._calls.new(channel, encode(payload), request_id)

    async def serve(self, channel: Channel, *, slots: int | Slots) -> AsyncGenerator[Delivery, None]:
        """Deliveries, one whenever a slot is free. Closing it hands what was not yielded to other servers; what was
        stays held, and is this process's to settle (see `drained`)."""
        served = Served(channel, slots if isinstance(slots, Slots) else Slots(slots), self._writer.post, self.address)
        self._served.append(served)
        batch: deque[Delivery] = deque()
        try:
            while True:
                await served.slots.room()
                batch.extend(await self._take(served))
                while batch:
                    yield batch.popleft()
        finally:
            served.open = False
            for delivery in batch:
                served.let_go(delivery)
            await self._hand_back(served)

    async def drained(self) -> None:
        """Returns when everything taken is settled."""
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
        """Have `key` be `owner`'s for so long, or give it back (`ttl` 0); False: it is somebody else's."""
        await self._ready()
        return bool(await self._writer.post("EVAL", wire.LEASE, 1, key, owner, _ms(ttl)))

    async def run_script(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a Lua `script` on Redis in one step and return its answer. Raises BusUnavailable."""
        await self._ready()
        return await self._writer.post("EVAL", script, len(keys), *keys, *arguments)

    async def waiting(self, channel: Channel) -> int:
        """Deliveries of a channel that no server has accepted."""
        await self._ready()
        count: int = await self._writer.post("XLEN", wire.channel_key(channel))
        return count

    async def scan(self, prefix: str) -> dict[str, bytes]:
        """Every value `put` under a key that starts with `prefix`."""
        await self._ready()
        keys = await self._keys(prefix)
        values = await self._writer.post("MGET", *keys) if keys else []
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def report_exit(self, service: str, instance: str, *, pid: int | None = None) -> None:
        """Spread what a supervisor knows: this process (any incarnation of that name, without `pid`) is dead. Its
        callers and servers hear at once instead of after its lease."""
        await self._ready()
        dead = await self._addresses(f"{service}:{instance}:" + (f"{pid}-" if pid is not None else ""))
        if not dead:
            return
        await self._writer.post("DEL", *(f"{kind}:{address}" for kind in ("inbox", "process") for address in dead))
        news = [wire.Message(wire.EXITED, data=address.encode()) for address in dead]
        alive = await self._addresses("")
        await asyncio.gather(*(wire.write_inbox(self._writer.post, *each) for each in itertools.product(alive, news)))

    async def _addresses(self, prefix: str) -> list[str]:
        return [key.removeprefix("inbox:") for key in await self._keys(f"inbox:{prefix}")]

    async def _keys(self, prefix: str) -> list[str]:
        """By SCAN, which stops nobody. Raises BusUnavailable."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return sorted({key.decode() async for key in self._redis.scan_iter(pattern, count=1000)})
        except UNREACHABLE as error:
            raise unavailable(error) from error

    async def _take(self, served: Served) -> list[Delivery]:
        """What there is for the free slots; may be nothing."""
        await self._up.wait()
        try:
            entries = await self._next_entries(served)
        except UNREACHABLE as error:
            if str(error).startswith(("NOGROUP", "UNBLOCKED")):  # UNBLOCKED: it was there when the reading began
                with contextlib.suppress(*UNREACHABLE):
                    await self._open_channel(served)
            elif isinstance(error, ResponseError):
                get_log().error("bus_take_refused", channel=served.channel.name, error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS[-1])
            else:
                await asyncio.sleep(RECONNECT_SECONDS[0])  # the listener says so, and when it is over
            return []
        held = {entry for each in self._served if each.channel == served.channel for entry in each.held}
        return served.hold((entry, fields) for entry, fields in entries if entry not in held)

    async def _open_channel(self, served: Served) -> None:
        """From its beginning: calls placed before any server was there count."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.xgroup_create(served.key, wire.GROUP, id="0", mkstream=True)
        if served.channel.server:
            pipe.pexpire(served.key, self._lease_ms)
        await soon(pipe.execute(raise_on_error=False))

    async def _next_entries(self, served: Served) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """First what an earlier process of this name left, then what others let lie, then what is new."""
        key, free, now = served.key, served.slots.free, asyncio.get_running_loop().time()
        read = partial(self._redis.xreadgroup, wire.GROUP, self._consumer, count=free)
        if served.history is not None:
            [[_, entries]] = await soon(read({key: served.history}))
            served.history = entries[-1][0] if entries else None
            if not entries:
                await self._forget_consumers(key)
            return list(entries)
        if now >= served.next_claim:
            served.claim_cursor, entries, *_ = await soon(
                self._redis.xautoclaim(key, wire.GROUP, self._consumer, self._lease_ms, served.claim_cursor, free)
            )
            if served.claim_cursor == b"0-0":
                served.next_claim = now + self._timings.lease / 3
            return list(entries)
        block = min(BLOCK_SECONDS, served.next_claim - now)
        found = await soon(read({key: ">"}, block=max(1, _ms(block))), after=block)
        return [entry for _, entries in found for entry in entries]

    async def _hand_back(self, served: Served) -> None:
        """Let others take at once what is pending under our name and not held."""
        if not self.connected:
            return
        with contextlib.suppress(*UNREACHABLE):
            if served.channel.server:
                await soon(self._redis.delete(served.key))
                return
            pending = await soon(self._redis.xpending_range(served.key, wire.GROUP, "-", "+", 1000, self._consumer))
            if ids := [entry["message_id"] for entry in pending if entry["message_id"] not in served.held]:
                hand_over = partial(self._redis.xclaim, idle=self._lease_ms, justid=True)
                await soon(hand_over(served.key, wire.GROUP, self._consumer, 0, ids))

    async def _forget_consumers(self, key: str) -> None:
        """Names never used again would stay for ever."""
        for consumer in await soon(self._redis.xinfo_consumers(key, wire.GROUP)):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_CONSUMER_MS:
                await soon(self._redis.xgroup_delconsumer(key, wire.GROUP, consumer["name"]))

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._timings.beat)
            await self._up.wait()
            with contextlib.suppress(*UNREACHABLE):  # the listener notices, and says so
                await self._beat()

    async def _beat(self) -> None:
        """One round trip: renew every lease of ours, look at those of the processes we depend on."""
        beat = str(next(self._beats))
        self._served = [served for served in self._served if served.open or served.held]
        watched = self._watched()
        pipe = self._redis.pipeline(transaction=False)
        pipe.pexpire(self._inbox, _ms(self._timings.inbox))
        pipe.xtrim(self._inbox, minid=self._last_read, approximate=False)
        presence = self._facts | self._identity | {"beat": beat}
        pipe.set(f"process:{self.address}", orjson.dumps(presence, default=str), px=self._lease_ms)
        for served in self._served:
            if served.channel.server:
                pipe.pexpire(served.key, self._lease_ms)
            elif served.open:
                pipe.set(f"serving:{served.channel.name}", f"{self.address} {beat}", px=self._lease_ms)
            if mine := served.unsettled():
                pipe.xclaim(served.key, wire.GROUP, self._consumer, 0, mine, justid=True)
        if watched:
            pipe.mget(watched)
        answers = await soon(pipe.execute(raise_on_error=False))
        touch_alive_file()
        if answers[0] == 0:
            await self._move_in()
        if watched and isinstance(answers[-1], list):
            self._judge(zip(watched, answers[-1], strict=True))

    def _deliveries(self) -> list[Delivery]:
        return [delivery for served in self._served for delivery in served.held.values()]

    def _watched(self) -> list[str]:
        peers = self._calls.holders() | {delivery.caller for delivery in self._deliveries() if delivery.caller}
        return [f"process:{peer}" for peer in peers] + [f"serving:{name}" for name in self._calls.waiting_for()]

    def _judge(self, answers: Iterable[tuple[str, bytes | None]]) -> None:
        for key, looks in self._watch.look(answers).items():
            kind, _, name = key.partition(":")
            if kind == "process" and looks * self._timings.beat >= self._timings.lease:
                self._lose(name)
            elif kind == "serving" and looks * self._timings.beat >= self._timings.no_worker:
                self._calls.refuse(name)

    def _lose(self, address: str) -> None:
        """The process at `address` is gone: with what it held for us, and with what it wanted from us."""
        self._calls.lose(address)
        for delivery in self._deliveries():
            if delivery.caller == address:
                delivery.caller_lost = True
                delivery.caller_gone.set()

    async def _move_in(self) -> None:
        """Make our inbox. If there was one, we were thought dead or Redis forgot: no call can be trusted."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.execute_command("XADD", self._inbox, "*", *wire.Message(b"hello").fields())
        pipe.pexpire(self._inbox, _ms(self._timings.inbox))
        await soon(pipe.execute())
        self._calls.fail_all(BusUnavailable("Redis lost this call; send the request again if that is safe."))
        for delivery in (each for each in self._deliveries() if each.caller):
            delivery.caller_gone.set()

    async def _listen(self) -> None:
        """Read the inbox, for ever; say when Redis comes and goes."""
        pause, longest = RECONNECT_SECONDS
        while True:
            try:
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
        found = await soon(self._redis.xread(inbox, READ_AT_ONCE, _ms(BLOCK_SECONDS)), after=BLOCK_SECONDS)
        for entry, fields in (each for _, entries in found for each in entries):
            message = wire.Message.read(fields)
            self._last_read = entry
            self._untrimmed += len(message.data)
            self._dispatch(message)
        if self._untrimmed > TRIM_BYTES:
            self._untrimmed = 0
            await soon(self._redis.xtrim(self._inbox, minid=self._last_read, approximate=False))

    def _dispatch(self, message: wire.Message) -> None:
        if message.kind == wire.EXITED:
            self._lose(message.data.decode())
        elif message.kind == wire.CANCEL:
            for delivery in self._deliveries():
                if delivery.caller == message.data.decode() and delivery.call == message.call:
                    delivery.caller_gone.set()
        else:
            self._calls.receive(message)

    def _set_down(self, error: BaseException) -> None:
        now = asyncio.get_running_loop().time()
        if self._up.is_set() or not self._tried.is_set():
            get_log().warning("bus_lost", error=str(error))
            self._down_since = now
        self._why_down = str(error) or type(error).__name__
        self._up.clear()
        self._tried.set()
        if now - self._down_since > self._timings.outage:
            self._calls.fail_all(unavailable(error))

    async def _ready(self) -> None:
        """Wait a moment for Redis. Raises BusUnavailable."""
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
            answers = await soon(pipe.execute(raise_on_error=False))
        except UNREACHABLE as error:
            raise unavailable(error) from error
        return [unavailable(answer) if isinstance(answer, ResponseError) else answer for answer in answers]
