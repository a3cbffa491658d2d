"""The slow jobs, at their times: arq's cron, hosted here because this process owns the file.
Nothing else knows arq.

arq gives up when Redis goes away, so it is started again; a job that fails is told of and comes
again at its next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from arq import cron
from arq.connections import ArqRedis
from arq.cron import CronJob
from arq.worker import Worker

from analytics.price_updates import PriceUpdates
from analytics.questions import before_days
from analytics.recent_prompts import MOST_OF_CONVERSATION
from analytics.store import Store
from shared.bus.connection import COMMAND_SECONDS, open_connections
from shared.runtime.errors import CCProxyError
from shared.runtime.log import get_log
from shared.settings.tree import ObservabilitySettings

QUEUE = "analytics:jobs"
POLL_SECONDS = 5.0  # twenty commands a second at the library's half
RESTART_SECONDS = 5.0
JOB_SECONDS = 600
ROLL_UP_MINUTE = 7
SUM_UP_MINUTE = 2
PRICES_MINUTE = 23
FINGERPRINT_DAYS = 7  # no cache of a provider lasts nearly as long


async def roll_up(store: Store, retention_days: float, now: float) -> int:
    """Move records older than the retention into the sums by hour; return the number of moved
    records.

    The function also forgets the permission requests of tools from before the retention. Raises
    StoreUnavailable.
    """
    if not retention_days:
        return 0
    # In one transaction, and the sums before the deletion: no hour is counted twice or lost.
    moved = await store.change(
        "drop_old_permissions",
        "roll_up",
        "drop_rolled_up_sums",
        "drop_rolled_up",
        before=before_days(now, retention_days),
    )
    if moved:
        get_log().info("records_rolled_up", records=moved, retention_days=retention_days)
    return moved


async def sum_up(store: Store, now: float) -> None:
    """Sum the records of every full hour in the past, and drop the fingerprints of prompts with no
    later prompt to compare. Raises StoreUnavailable.
    """
    await store.sum_up(before_days(now, 0))
    await store.change(
        "drop_old_fingerprints",
        before=before_days(now, FINGERPRINT_DAYS),
        settled=before_days(now, 0),
        each=MOST_OF_CONVERSATION // 2,
    )


def hours_of(every: float) -> set[int]:
    """The hours of the day of a job that runs every so many hours; once a day at the least."""
    return set(range(0, 24, min(24, max(1, math.ceil(every)))))


async def run_schedule(
    redis_url: str,
    store: Store,
    updates: PriceUpdates,
    settings: ObservabilitySettings,
    stop: asyncio.Event,
) -> None:
    """Run the jobs on schedule until `stop`."""

    async def roll_up_old(ctx: dict[Any, Any], *_: Any, **__: Any) -> None:
        del ctx
        await guarded("roll_up", lambda: roll_up(store, settings.retention_days, time.time()))

    async def refresh_prices(ctx: dict[Any, Any], *_: Any, **__: Any) -> None:
        del ctx
        await guarded("refresh_prices", updates.refresh)

    async def sum_up_hours(ctx: dict[Any, Any], *_: Any, **__: Any) -> None:
        del ctx
        await guarded("sum_up", lambda: sum_up(store, time.time()))

    jobs = [
        cron(roll_up_old, minute=ROLL_UP_MINUTE, timeout=JOB_SECONDS, keep_result=0),
        cron(sum_up_hours, minute=SUM_UP_MINUTE, timeout=JOB_SECONDS, keep_result=0),
    ]
    if every := settings.prices_refresh_hours:
        jobs.append(
            cron(
                refresh_prices,
                hour=hours_of(every),
                minute=PRICES_MINUTE,
                timeout=JOB_SECONDS,
                keep_result=0,
            )
        )
    while not stop.is_set():
        working = asyncio.create_task(work(redis_url, jobs))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done() and (failure := working.exception()):
            get_log().warning(
                "schedule_interrupted", reason=str(failure), retry_seconds=RESTART_SECONDS
            )
        # `working` closes its pool and its jobs when it is cancelled; the next round begins with a
        # new pool.
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_SECONDS)


async def work(redis_url: str, jobs: list[CronJob]) -> None:
    """Run the jobs until cancelled. Raises Redis' error when Redis goes away."""
    pool = ArqRedis(
        open_connections(redis_url, answer_seconds=COMMAND_SECONDS), default_queue_name=QUEUE
    )
    worker = Worker(
        cron_jobs=jobs,
        redis_pool=pool,
        queue_name=QUEUE,
        handle_signals=False,
        poll_delay=POLL_SECONDS,
        max_jobs=1,
    )
    try:
        await worker.async_run()
    finally:
        running = list(worker.tasks.values())
        # arq leaves its jobs running when it is cancelled, and they would go on beside the next
        # worker's.
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await pool.aclose(close_connection_pool=True)


async def guarded(name: str, job: Callable[[], Awaitable[Any]]) -> None:
    try:
        await job()
    except CCProxyError as error:
        get_log().warning("job_failed", job=name, reason=error.message)
