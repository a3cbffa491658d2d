"""The analytics program as a supervisor starts it, for tests that need to see what it makes of
records.

Loaded as a pytest plugin: `analytics` is one of the test's own, on the test's Redis.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.bus import Bus, Timings
from shared.bus.channels import ACCESS_RECORD, LOGS_QUERY, AccessRecord, LogsQuery
from shared.bus.records import pack
from shared.runtime.errors import CCProxyError

PROGRAM = Path(sys.executable).with_name("ccproxy-analytics")
DEADLINE = 30


async def eventually(reached: Callable[[], Awaitable[bool]], pause: float = 0.01) -> None:
    deadline = time.monotonic() + DEADLINE
    while not await reached():
        assert time.monotonic() < deadline
        await asyncio.sleep(pause)


class Analytics:
    """The program as a supervisor starts it; `bus` is a gateway's."""

    def __init__(self, bus: Bus, redis_url: str, directory: Path) -> None:
        self.bus = bus
        self.path = directory / "data/metrics.duckdb"
        self.environment = os.environ | {
            "REDIS__URL": redis_url,
            "OBSERVABILITY__DUCKDB_PATH": str(self.path),
            "CCPROXY_INSTANCE": "analytics-1",
            "SERVER__LOG_FORMAT": "json",
        }
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                PROGRAM, env=self.environment, cwd=self.directory, stderr=log
            )

    async def end(self, signum: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signum)
        return await self.process.wait()

    async def ask(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.bus.call(LOGS_QUERY, LogsQuery(name, parameters)) as replies:
            return [orjson.loads(reply) async for reply in replies]

    async def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status for which `reached`; a process that is away for the moment is asked
        again.
        """
        status: dict[str, Any] = {}

        async def asked() -> bool:
            nonlocal status
            try:
                (status,) = await self.ask("status")
            except CCProxyError:
                return False
            return reached(status)

        await eventually(asked)
        return status

    def written(self) -> int:
        """Bytes in DuckDB's log, where a commit shows first."""
        log = self.path.with_name(self.path.name + ".wal")
        return log.stat().st_size if log.exists() else 0

    async def has_written_beyond(self, size: int) -> bool:
        return self.written() > size

    async def publish(self, records: list[AccessRecord]) -> None:
        """As a gateway does, a few in each message."""
        parts = (records[start : start + 10] for start in range(0, len(records), 10))
        await asyncio.gather(*(self.bus.publish(ACCESS_RECORD, pack(part)) for part in parts))


@pytest.fixture
async def analytics(
    bus_factory: Callable[..., Awaitable[Bus]], redis_url: str, tmp_path: Path
) -> AsyncIterator[Analytics]:
    analytics = Analytics(await bus_factory("gateway", timings=Timings()), redis_url, tmp_path)
    await analytics.start()
    yield analytics
    await analytics.end(signal.SIGKILL)
