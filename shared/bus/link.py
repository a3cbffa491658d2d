"""The connection of one process to Redis over time: up, down, and what waits for it meanwhile.

Invariants: `up` is set while Redis answers, and only the reader of the inbox sets and clears it
(`peers`). Commands that must not be lost wait for `up` in the writer; all others fail after
`Timings.reconnect`. At an address of sentinels the writer's answer to a write means that a replica
has the write too, if there is a replica: the next primary knows all that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from shared.bus import wire
from shared.bus.connection import (
    COMMAND_SECONDS,
    UNREACHABLE,
    milliseconds,
    open_client,
    unavailable,
    with_deadline,
)
from shared.bus.sentinel import PrimaryPool, ReplicaWatch, has_live_replica
from shared.bus.watch import Timings
from shared.runtime.log import get_log

CONFIRM_SECONDS = 1.0  # for a replica to confirm writes; one is a round trip away
READS = frozenset(
    {"GET", "MGET", "XLEN", "EXISTS", "ZRANGE"}
)  # those of the bus; nothing is to confirm


def is_confirmed(answer: Any) -> bool:
    """Return True if the `answer` to WAIT counts a replica; an error counts none."""
    return isinstance(answer, int) and answer > 0


def is_for_now(error: ResponseError) -> bool:
    """Return True for a refusal that ends by itself: the server wants a replica before it writes
    (`min-replicas-to-write`).
    """
    return str(error).startswith("NOREPLICAS")


class Link:
    """The client of a process, the queue of commands, and the state of the connection.

    `tried` is set once the first attempt to connect has ended, either way.
    """

    def __init__(self, url: str, timings: Timings) -> None:
        self.timings = timings
        self.redis = open_client(url)
        self._pool = self.redis.connection_pool
        self.has_sentinels = isinstance(self._pool, PrimaryPool)
        self.up = asyncio.Event()
        self.tried = asyncio.Event()
        self.writer = wire.CommandQueue(self._execute, self.up)
        self._why_down = ""
        self._down_since = 0.0
        self._replicas = ReplicaWatch()

    async def ready(self) -> None:
        """Wait at most `timings.reconnect` seconds for Redis. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(self.timings.reconnect):
                await self.up.wait()
        except TimeoutError:
            raise unavailable(self._why_down) from None

    def note_up(self) -> None:
        """Note that Redis answers."""
        self.up.set()
        self.tried.set()
        get_log().debug("bus_connected")

    def note_down(self, error: BaseException) -> bool:
        """Note that Redis does not answer. Return True once the outage is longer than
        `timings.outage`: calls in progress then fail.
        """
        now = asyncio.get_running_loop().time()
        # Only the first failure of an outage is logged and starts the clock, also when Redis was
        # never there; the attempts that follow are the same outage.
        if self.up.is_set() or not self.tried.is_set():
            get_log().warning("bus_lost", error=str(error))
            self._down_since = now
        self._why_down = str(error) or type(error).__name__
        self.up.clear()
        self.tried.set()
        # A shorter loss fails no call: its messages are numbered, written again, and read on from
        # the last one.
        return now - self._down_since > self.timings.outage

    async def note_replicas(self, replication: Any) -> None:
        """Note by the answer to INFO replication whether a replica must confirm writes. Raises
        redis' ConnectionError when none follows and the server may not be the primary any more.
        """
        if not isinstance(self._pool, PrimaryPool):
            return
        # The replica is gone, or it has become the primary and this server's writes will be lost.
        # Only the sentinels can tell.
        if not has_live_replica(replication):
            await self._pool.confirm_primary()
        self._watch_replicas(replication)

    def _watch_replicas(self, replication: Any) -> None:
        """Decide by the answer to INFO replication whether a replica must confirm writes."""
        assert isinstance(self._pool, PrimaryPool)
        confirmed = self._replicas.must_confirm
        now = asyncio.get_running_loop().time()
        found = has_live_replica(replication)
        self._replicas.note(self._pool.primary, has_replica=found, now=now)
        if confirmed and not self._replicas.must_confirm:
            get_log().warning("bus_without_replica")

    async def check_primary(self, answers: Sequence[Any]) -> None:
        """Leave the server if one of its `answers` says that the server is a replica by now. Raises
        redis' ConnectionError then.
        """
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            await self.leave_server()
            raise RedisConnectionError("the server is a replica now")

    async def leave_server(self) -> None:
        """Close all connections, those in use too: a reader of a server that no longer answers, or
        is no longer the primary, would wait for nothing. The next command connects anew.
        """
        with contextlib.suppress(*UNREACHABLE):
            await self._pool.disconnect()

    async def find_keys(self, prefix: str) -> list[str]:
        """Return the keys with the prefix `prefix`, found by SCAN so that Redis is never blocked.
        Raises BusUnavailable.
        """
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                keys = self.redis.scan_iter(pattern, count=1000)
                found = {key.decode("utf-8", "surrogatepass") async for key in keys}
        except UNREACHABLE as error:
            raise unavailable(error) from error
        return sorted(found)

    async def aclose(self) -> None:
        await self.writer.stop()
        await self.redis.aclose()
        await self._pool.disconnect()

    async def _execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self.redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        # WAIT counts the replicas that have every write of this connection, and so of the batch.
        # While the primary has none, INFO says whether one has joined since the last heartbeat.
        has_writes = self.has_sentinels and any(each[0] not in READS for each in commands)
        is_alone = has_writes and not self._replicas.must_confirm
        if has_writes:
            pipe.execute_command("WAIT", 1, 1 if is_alone else milliseconds(CONFIRM_SECONDS))
        if is_alone:
            pipe.info("replication")
        try:
            answers = await with_deadline(pipe.execute(raise_on_error=False))
            await self.check_primary(answers)
        except UNREACHABLE as error:
            raise unavailable(error) from error
        if is_alone:
            self._watch_replicas(answers.pop())
        # The writes may be lost with this primary, so their outcome is unknown: whoever may, writes
        # again.
        if has_writes and not is_confirmed(answers.pop()) and self._replicas.must_confirm:
            raise unavailable("no replica has confirmed the write")
        if any(isinstance(each, ResponseError) and is_for_now(each) for each in answers):
            raise unavailable("too few replicas follow the primary")
        # A ResponseError belongs to one command. Raised, it would tell the writer that the outcome
        # of the whole batch is unknown, and every patient command in it would be written again.
        return [
            unavailable(answer) if isinstance(answer, ResponseError) else answer
            for answer in answers
        ]
