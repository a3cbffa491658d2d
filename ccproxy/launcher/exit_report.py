"""The report of one process' death to the bus: `python -m ccproxy.launcher.exit_report SERVICE
PROCESS [PID]`.

The listener runs it. It has two seconds, and a Redis that is away costs only the report: leases run
out by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from shared.bus import Bus
from shared.runtime.errors import CCProxyError

REPORT_SECONDS = 2.0


async def report(redis_url: str, service: str, process: str, pid: int | None) -> None:
    """Report the death of `process`, an instance of `service`, to every process on the bus."""
    with contextlib.suppress(CCProxyError, TimeoutError):
        async with (
            asyncio.timeout(REPORT_SECONDS),
            Bus(redis_url, service="listener", instance="listener") as bus,
        ):
            await bus.report_exit(service, process, pid=pid)


def main() -> None:
    service, process, *pid = sys.argv[1:]
    asyncio.run(
        report(os.environ.get("REDIS__URL", ""), service, process, int(pid[0]) if pid else None)
    )


if __name__ == "__main__":
    main()
