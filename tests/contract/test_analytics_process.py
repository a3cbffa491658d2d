"""The analytics program, the real bus and a real Redis: records in, answers out, through kill -9
and locked files.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from gateway.metering.records import Records
from shared.bus import Bus, Timings
from shared.bus.channels import LOGS_QUERY, LOGS_WATCH, AccessRecord, LogsQuery
from shared.bus.records import WATCHED_KEY
from shared.runtime.errors import CCProxyError, NotFound, StoreUnavailable
from shared.runtime.metrics import Metrics
from tests.support.analytics_process import DEADLINE, Analytics, eventually


async def tells_a_problem(bus: Bus) -> bool:
    return any(process.get("problem") for process in await bus.processes())


def records(count: int, start: int = 0) -> list[AccessRecord]:
    now = time.time()
    return [
        AccessRecord(
            f"r{number}", now + number / 1000, model="opus", status_code=200, user_agent="x" * 100
        )
        for number in range(start, start + count)
    ]


async def test_records_published_on_the_bus_are_found_again(analytics: Analytics) -> None:
    await analytics.publish(
        [AccessRecord("one", 1_700_000_000.25, model="opus", status_code=200, duration_ms=1500)]
    )
    await analytics.publish(
        [AccessRecord("two", 1_700_000_001.0, model="gpt", status_code=429, error_kind="refused")]
    )
    await analytics.until(lambda status: status.get("rows") == 2)
    (entries,) = await analytics.ask("entries")
    assert [row["request_id"] for row in entries["results"]] == ["two", "one"]
    (filtered,) = await analytics.ask("entries", model="opus", status_max=399)
    assert filtered["total_count"] == filtered["count"] == 1
    assert (
        filtered["results"][0]
        | {"timestamp": "2023-11-14T22:13:20.250000Z", "duration_seconds": 1.5}
        == filtered["results"][0]
    )
    (sums,) = await analytics.ask("analytics", start_time=0)
    assert sums["summary"]["total_requests"] == 2
    assert sums["request_analytics"]["error_requests"] == 1
    assert set(sums["model_breakdown"]) == {"opus", "gpt"}


async def test_an_unknown_question_or_parameter_is_refused_in_words(analytics: Analytics) -> None:
    with pytest.raises(NotFound, match="'drop'"):
        await analytics.ask("drop")
    with pytest.raises(CCProxyError, match="limit"):
        await analytics.ask("entries", limit=10_001)


async def test_many_rows_come_in_replies_of_a_megabyte_in_order(analytics: Analytics) -> None:
    await analytics.publish(records(3000))
    await analytics.until(lambda status: status.get("rows") == 3000)
    replies = await analytics.ask("entries", limit=3000)
    assert len(replies) > 1
    found = [row["request_id"] for reply in replies for row in reply["results"]]
    assert found == [f"r{number}" for number in reversed(range(3000))]


@pytest.mark.long
async def test_killed_as_it_commits_again_and_again_every_record_is_there_once(
    analytics: Analytics,
) -> None:
    total = 0
    for _ in range(3):
        await analytics.until(lambda status: status["status"] == "healthy")
        committed = partial(analytics.has_written_beyond, analytics.written())
        publishing = asyncio.create_task(analytics.publish(records(2000, total)))
        total += 2000
        await eventually(committed, pause=0)
        await analytics.end(signal.SIGKILL)  # committed, or nearly so, and not yet acknowledged
        await publishing
        await analytics.start()
    await analytics.until(lambda status: status.get("rows", 0) >= total and not status["pending"])
    assert await analytics.end() == 0
    with duckdb.connect(analytics.path) as connection:
        counted = connection.execute(
            "SELECT count(*), count(DISTINCT request_id) FROM access_records"
        ).fetchall()
    assert counted == [(total, total)]


@pytest.mark.long
async def test_while_another_program_holds_the_file_records_wait_and_everyone_is_told(
    analytics: Analytics,
) -> None:
    await analytics.until(lambda status: status["status"] == "healthy")
    assert await analytics.end() == 0
    with duckdb.connect(analytics.path):
        await analytics.start()
        await analytics.publish(records(10))
        status = await analytics.until(lambda status: f"PID {os.getpid()}" in status["problem"])
        assert status["status"] == "waiting"
        with pytest.raises(StoreUnavailable, match="holds"):
            await analytics.ask("entries")
        await eventually(lambda: tells_a_problem(analytics.bus))
    await analytics.until(lambda status: status.get("rows") == 10)
    assert "database_unavailable" in (analytics.directory / "log").read_text()


@pytest.mark.long
async def test_it_goes_on_when_redis_comes_back_and_stops_in_order_when_it_does_not(
    own_redis: Any, bus_factory: Callable[..., Awaitable[Bus]], tmp_path: Path
) -> None:
    bus = await bus_factory("gateway", timings=Timings(reconnect=DEADLINE), url=own_redis.url)
    analytics = Analytics(bus, own_redis.url, tmp_path)
    await analytics.start()
    await analytics.publish(records(5))
    await analytics.until(lambda status: status.get("rows") == 5)
    own_redis.kill()
    own_redis.start()
    await analytics.publish(records(5, start=5))
    await analytics.until(lambda status: status.get("rows") == 10)
    own_redis.kill()
    assert await analytics.end() == 0


async def test_its_metrics_are_there_for_the_gateway_to_merge(analytics: Analytics) -> None:
    await analytics.publish(records(3))
    await analytics.until(lambda status: status.get("rows") == 3)
    snapshots = await analytics.bus.scan("metrics:")
    assert list(snapshots) == ["metrics:analytics:analytics-1"]
    assert await analytics.end() == 0
    (last,) = (await analytics.bus.scan("metrics:")).values()
    assert b"ccproxy_analytics_rows_total 3.0" in last


async def test_the_files_are_private(analytics: Analytics) -> None:
    await analytics.until(lambda status: status["status"] == "healthy")
    assert analytics.path.stat().st_mode & 0o777 == 0o600
    assert analytics.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.long
async def test_a_query_nobody_waits_for_any_more_does_no_harm(analytics: Analytics) -> None:
    await analytics.publish(records(2000))
    await analytics.until(lambda status: status.get("rows") == 2000)
    for _ in range(5):
        async with analytics.bus.call(LOGS_QUERY, LogsQuery("entries", {"limit": 2000})) as replies:
            await replies.accepted()
    (entries,) = await analytics.ask("entries", limit=1)
    assert entries["total_count"] == 2000


async def test_whoever_looks_on_sees_a_request_begin_and_end(analytics: Analytics) -> None:
    await analytics.until(lambda status: status["status"] == "healthy")
    slow = AccessRecord("slow", time.time(), model="opus", provider="claude")
    async with (
        asyncio.timeout(DEADLINE),
        analytics.bus.call(LOGS_WATCH, {}) as replies,
        Records(analytics.bus, Metrics()) as records,
    ):
        await replies.accepted()
        await eventually(lambda: told_of_watchers(analytics.bus))
        records.begin(slow)
        seen = [
            (event["type"], event["request_id"]) for event in orjson.loads(await anext(replies))
        ]
        records.add(slow)
        seen += [
            (event["type"], event["request_id"]) for event in orjson.loads(await anext(replies))
        ]
    assert seen == [("request_start", "slow"), ("request_complete", "slow")]


async def told_of_watchers(bus: Bus) -> bool:
    return await bus.get(WATCHED_KEY) is not None
