"""The bus between the processes, on Redis 6.2 streams: `publish`, `call` (its answer is a stream) and `serve`.

Each channel is one stream with one consumer group; each process has one inbox stream for replies, cancels and news.
A process lives as long as its heartbeat; whoever depends on it watches that, and an inbox that is gone says the rest.
Losing Redis for a while loses nothing in flight: replies are numbered, written again, and read on from the last one.
Every key has a TTL, but the channels: those have a bound. docs/explanation/bus.md draws the protocol.
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
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from shared.bus.calls import Call, Calls
from shared.bus.deliveries import Delivery, Served
from shared.bus.watch import DEFAULT_TIMINGS, Timings, Watch
from shared.bus.wire import (
    CANCEL,
    EXITED,
    GROUP,
    INBOX_LENGTH,
    Message,
    Writer,
    channel_key,
    check_size,
    inbox_key,
    write_inbox,
)
from shared.channels import Channel, encode
from shared.errors import BusUnavailable, Stopping
from shared.log import get_log
from shared.settings import ConfigurationError

UNREACHABLE = (RedisError, OSError)  # OSError covers TimeoutError
CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 5.0  # for one pipeline: tens of megabytes, or a disk that makes the server wait
BLOCK_SECONDS = 2.0  # one blocking read; it only bounds how long a dead connection goes unnoticed
RECONNECT_SECONDS = (0.02, 1.0)  # first and longest pause between attempts
READ_AT_ONCE = 500
TRIM_BYTES = 8 * 1024 * 1024  # read and still in Redis; beyond this it goes before the next beat
FORGET_CONSUMER_MS = 3_600_000


def _client(url: str, *, timeout: float | None, connections: int) -> Redis:
    """Nothing is left to the library's defaults: they differ between versions, and some retry in silence."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=COMMAND_SECONDS,
            socket_timeout=timeout,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigurationError(f"REDIS__URL: {error}") from None
    return Redis(connection_pool=pool)


def _unavailable(why: object) -> BusUnavailable:
    return BusUnavailable(f"{BusUnavailable().message} ({why})")


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class Bus:
    """One process's connection to the others. `async with` it; connecting never raises, it is retried while the verbs
    raise BusUnavailable."""

    def __init__(self, url: str, *, service: str, instance: str, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._address = f"{service}:{instance}:{os.getpid()}-{secrets.token_hex(4)}"
        self._identity = {"service": service, "instance": instance, "pid": os.getpid(), "started_at": time.time()}
        self._consumer = instance
        self._timings = timings
        self._commands = _client(url, timeout=COMMAND_SECONDS, connections=8)
        self._blocking = _client(url, timeout=None, connections=32)  # one for the inbox, one for each channel served
        self._facts: dict[str, Any] = {}
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._why_down, self._down_since = "", 0.0
        self._last_read: bytes = b"0-0"
        self._untrimmed = 0
        self._beats = itertools.count()
        self._writer = Writer(self._execute, self._up)
        self._calls = Calls(self._address, self._writer.post, self._ready)
        self._served: list[Served] = []
        self._watch = Watch()

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_beating())]
        await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._calls.fail_all(Stopping())
        for served in self._served:
            served.open = False
            served.held.clear()
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(self._timings.patience):
                await self._writer.written()
                await asyncio.gather(*map(self._hand_back, self._served))
                await self._commands.delete(inbox_key(self._address), f"process:{self._address}")
        self._up.clear()
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self._writer.stop()
        for client in (self._commands, self._blocking):
            await client.aclose()
            await client.connection_pool.disconnect()

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
        data = check_size(encode(payload))
        await self._ready()
        await self._writer.post("XADD", channel_key(channel), "MAXLEN", "~", channel.max_length, "*", "data", data)

    def call(self, channel: Channel, payload: Any, *, request_id: str | None = None) -> Call:
        """Entering the call places it: raises BusUnavailable, TooLarge, or Busy when `max_length` are waiting."""
        return self._calls.new(channel, encode(payload), request_id)

    async def serve(self, channel: Channel, *, slots: int) -> AsyncGenerator[Delivery, None]:
        """Deliveries, one whenever a slot is free. Closing it hands what was not yielded to other servers; what was
        stays held, and is this process's to settle (see `drained`)."""
        served = Served(channel, slots, self._writer.post, self._address)
        self._served.append(served)
        batch: deque[Delivery] = deque()
        try:
            while True:
                await served.room()
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
        await self._writer.post("SET", key, check_size(value), "PX", _ms(ttl))

    async def get(self, key: str) -> bytes | None:
        await self._ready()
        value: bytes | None = await self._writer.post("GET", key)
        return value

    async def delete(self, key: str) -> None:
        await self._ready()
        await self._writer.post("DEL", key)

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
        news = [Message(EXITED, data=address.encode()) for address in dead]
        alive = await self._addresses("")
        await asyncio.gather(
            *(write_inbox(self._writer.post, address, message) for address in alive for message in news)
        )

    async def _addresses(self, prefix: str) -> list[str]:
        return [key.removeprefix("inbox:") for key in await self._keys(f"inbox:{prefix}")]

    async def _keys(self, prefix: str) -> list[str]:
        """By SCAN, which stops nobody. Raises BusUnavailable."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            return sorted({key.decode() async for key in self._commands.scan_iter(pattern, count=1000)})
        except UNREACHABLE as error:
            raise _unavailable(error) from error

    async def _take(self, served: Served) -> list[Delivery]:
        """What there is for the free slots; may be nothing."""
        await self._up.wait()
        try:
            entries = await self._next_entries(served)
        except UNREACHABLE as error:
            if str(error).startswith("NOGROUP"):  # from its beginning: calls placed before any server was there count
                with contextlib.suppress(*UNREACHABLE):
                    await self._commands.xgroup_create(channel_key(served.channel), GROUP, id="0", mkstream=True)
            elif isinstance(error, ResponseError):
                get_log().error("bus_take_refused", channel=served.channel.name, error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS[-1])
            else:
                await asyncio.sleep(RECONNECT_SECONDS[0])  # the listener says so, and when it is over
            return []
        held = {entry for each in self._served if each.channel == served.channel for entry in each.held}
        return served.hold((entry, fields) for entry, fields in entries if entry not in held)

    async def _next_entries(self, served: Served) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """First what an earlier process of this name left, then what others let lie, then what is new."""
        key, count = channel_key(served.channel), served.free
        now = asyncio.get_running_loop().time()
        if served.history is not None:
            [[_, entries]] = await self._commands.xreadgroup(GROUP, self._consumer, {key: served.history}, count)
            served.history = entries[-1][0] if entries else None
            if trimmed := [entry for entry, fields in entries if not fields]:
                await self._commands.xack(key, GROUP, *trimmed)
            if not entries:
                await self._forget_consumers(key)
            return list(entries)
        if now >= served.next_claim:
            served.claim_cursor, entries, *_ = await self._commands.xautoclaim(
                key, GROUP, self._consumer, _ms(self._timings.lease), served.claim_cursor, count
            )
            if served.claim_cursor == b"0-0":
                served.next_claim = now + self._timings.lease / 3
            return list(entries)
        block = min(BLOCK_SECONDS, served.next_claim - now)
        async with asyncio.timeout(block + COMMAND_SECONDS):
            found = await self._blocking.xreadgroup(GROUP, self._consumer, {key: ">"}, count, max(1, _ms(block)))
        return [entry for _, entries in found for entry in entries]

    async def _hand_back(self, served: Served) -> None:
        """Let others take at once what is pending under our name and not held."""
        if not self.connected:
            return
        key = channel_key(served.channel)
        with contextlib.suppress(*UNREACHABLE):
            pending = await self._commands.xpending_range(key, GROUP, "-", "+", 1000, self._consumer)
            ids = [entry["message_id"] for entry in pending if entry["message_id"] not in served.held]
            if ids:
                lease = _ms(self._timings.lease)
                await self._commands.xclaim(key, GROUP, self._consumer, 0, ids, idle=lease, justid=True)

    async def _forget_consumers(self, key: str) -> None:
        """Names never used again would stay for ever."""
        for consumer in await self._commands.xinfo_consumers(key, GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_CONSUMER_MS:
                await self._commands.xgroup_delconsumer(key, GROUP, consumer["name"])

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._timings.beat)
            await self._up.wait()
            with contextlib.suppress(*UNREACHABLE):  # the listener notices, and says so
                await self._beat()

    async def _beat(self) -> None:
        """One round trip: renew every lease of ours, look at those of the processes we depend on."""
        timings, lease = self._timings, _ms(self._timings.lease)
        beat = str(next(self._beats))
        self._served = [served for served in self._served if served.open or served.held]
        watched = self._watched()
        pipe = self._commands.pipeline(transaction=False)
        pipe.pexpire(inbox_key(self._address), _ms(timings.inbox))
        pipe.xtrim(inbox_key(self._address), minid=self._last_read, approximate=False)
        presence = self._facts | self._identity | {"beat": beat}
        pipe.set(f"process:{self._address}", orjson.dumps(presence, default=str), px=lease)
        for served in self._served:
            if served.open:
                pipe.set(f"serving:{served.channel.name}", f"{self._address} {beat}", px=lease)
            if mine := served.unsettled():
                pipe.xclaim(channel_key(served.channel), GROUP, self._consumer, 0, mine, justid=True)
        if watched:
            pipe.mget(watched)
        answers = await pipe.execute(raise_on_error=False)
        if answers[0] == 0:
            await self._move_in()
        if watched and isinstance(answers[-1], list):
            self._judge(self._watch.look(zip(watched, answers[-1], strict=True)))

    def _deliveries(self) -> list[Delivery]:
        return [delivery for served in self._served for delivery in served.held.values()]

    def _watched(self) -> list[str]:
        peers = self._calls.holders() | {delivery.caller for delivery in self._deliveries() if delivery.caller}
        return [f"process:{peer}" for peer in peers] + [f"serving:{name}" for name in self._calls.waiting_for()]

    def _judge(self, silent: dict[str, int]) -> None:
        for key, looks in silent.items():
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
                delivery.caller_gone.set()

    async def _move_in(self) -> None:
        """Make our inbox. If there was one, we were thought dead or Redis forgot: no call in flight can be trusted."""
        key = inbox_key(self._address)
        pipe = self._commands.pipeline(transaction=True)
        pipe.execute_command("XADD", key, "MAXLEN", "~", INBOX_LENGTH, "*", *Message(b"hello").fields())
        pipe.pexpire(key, _ms(self._timings.inbox))
        await pipe.execute()
        self._calls.fail_all(BusUnavailable("Redis lost this call; send the request again if that is safe."))

    async def _listen(self) -> None:
        """Read the inbox, for ever; say when Redis comes and goes."""
        pause, longest = RECONNECT_SECONDS
        while True:
            try:
                await self._beat()
                self._set_up()
                pause = RECONNECT_SECONDS[0]
                while True:
                    await self._read_inbox()
            except UNREACHABLE as error:
                self._set_down(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _read_inbox(self) -> None:
        async with asyncio.timeout(BLOCK_SECONDS + COMMAND_SECONDS):
            found = await self._blocking.xread(
                {inbox_key(self._address): self._last_read}, READ_AT_ONCE, _ms(BLOCK_SECONDS)
            )
        for entry, fields in (each for _, entries in found for each in entries):
            message = Message.read(fields)
            self._last_read = entry
            self._untrimmed += len(message.data)
            self._dispatch(message)
        if self._untrimmed > TRIM_BYTES:
            self._untrimmed = 0
            await self._commands.xtrim(inbox_key(self._address), minid=self._last_read, approximate=False)

    def _dispatch(self, message: Message) -> None:
        if message.kind == EXITED:
            self._lose(message.data.decode())
        elif message.kind == CANCEL:
            for delivery in self._deliveries():
                if delivery.caller == message.data.decode() and delivery.call == message.call:
                    delivery.caller_gone.set()
        else:
            self._calls.receive(message)

    def _set_up(self) -> None:
        if not self._up.is_set():
            get_log().info("bus_connected")
        self._up.set()
        self._tried.set()

    def _set_down(self, error: BaseException) -> None:
        now = asyncio.get_running_loop().time()
        if self._up.is_set() or not self._tried.is_set():
            get_log().warning("bus_lost", error=str(error))
            self._down_since = now
        self._why_down = str(error) or type(error).__name__
        self._up.clear()
        self._tried.set()
        if now - self._down_since > self._timings.outage:
            self._calls.fail_all(_unavailable(error))

    async def _ready(self) -> None:
        """Wait a moment for Redis. Raises BusUnavailable."""
        if self.connected:
            return
        try:
            async with asyncio.timeout(self._timings.patience):
                await self._up.wait()
        except TimeoutError:
            raise _unavailable(self._why_down) from None

    async def _execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self._commands.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            answers = await pipe.execute(raise_on_error=False)
        except UNREACHABLE as error:
            raise _unavailable(error) from error
        return [_unavailable(answer) if isinstance(answer, ResponseError) else answer for answer in answers]
