"""The connection of one process to Redis over time: up, down, and what waits for it meanwhile.

Invariant: `up` is set while Redis answers, and only the reader of the inbox sets and clears it
(`peers`). Commands that must not be lost wait for `up` in the writer; all others fail after
`Timings.reconnect`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from shared.bus import wire
from shared.bus.connection import (
    COMMAND_SECONDS,
    UNREACHABLE,
    open_client,
    unavailable,
    with_deadline,
)
from shared.bus.watch import Timings
from shared.runtime.log import get_log


class Link:
    """The client of a process, the queue of commands, and the state of the connection.

    `tried` is set once the first attempt to connect has ended, either way.
    """

    def __init__(self, url: str, timings: Timings) -> None:
        self.timings = timings
        self.redis = open_client(url)
        self.up = asyncio.Event()
        self.tried = asyncio.Event()
        self.writer = wire.CommandQueue(self._execute, self.up)
        self._why_down = ""
        self._down_since = 0.0

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

    async def find_keys(self, prefix: str) -> list[str]:
        """Return the keys with the prefix `prefix`, found by SCAN so that Redis is never blocked.
        Raises BusUnavailable.
        """
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                found = {key.decode() async for key in self.redis.scan_iter(pattern, count=1000)}
        except UNREACHABLE as error:
            raise unavailable(error) from error
        return sorted(found)

    async def aclose(self) -> None:
        await self.writer.stop()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    async def _execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self.redis.pipeline(transaction=False)
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
