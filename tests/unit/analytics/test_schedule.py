"""The slow jobs: what they do, and that they start, stop and survive Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from analytics.audit import AuditTrail
from analytics.price_updates import PriceUpdates
from analytics.questions import Filter, Permissions
from analytics.schedule import guarded, hours_of, roll_up, run_schedule
from analytics.store import Store
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord, PermissionAudit, encode_payload
from shared.runtime.errors import StoreUnavailable
from shared.settings.tree import ObservabilitySettings
from tests.unit.analytics.test_audit import Published

NOON = 1_760_000_000.0
DAY = 86_400.0


async def test_only_records_older_than_the_retention_are_moved(tmp_path: Path) -> None:
    store = Store(tmp_path / "metrics.duckdb")
    await store.open()
    await store.insert(
        [AccessRecord(f"r{day}", NOON - day * DAY, status_code=200) for day in (0, 10, 89, 91, 400)]
    )
    assert await roll_up(store, 0, NOON) == 0
    assert await roll_up(store, 90, NOON) == 2
    assert await roll_up(store, 90, NOON) == 0
    (all_of_it, *_) = await store.query("totals", Filter().bound())
    assert all_of_it["requests"] == 5
    await store.close()


async def test_what_tools_asked_for_is_kept_for_the_retention_and_survives_a_reset(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "metrics.duckdb")
    await store.open()
    trail = AuditTrail(store)
    for day in (0, 89, 91):
        asked = PermissionAudit(f"p{day}", NOON - day * DAY, "Bash", "{}", "", "", "", "allowed")
        await trail.keep(Published(encode_payload(asked)))  # type: ignore[arg-type]
    await store.change("forget_hours", "forget_records")
    await roll_up(store, 90, NOON)
    kept = await store.query("permissions", Permissions().model_dump())
    assert [row["request_id"] for row in kept] == ["p0", "p89"]
    await store.close()


@pytest.mark.parametrize(
    ("every", "hours"), [(24, {0}), (0.5, set(range(24))), (6, {0, 6, 12, 18}), (1000, {0})]
)
def test_a_refresh_comes_once_a_day_at_the_least(every: float, hours: set[int]) -> None:
    assert hours_of(every) == hours


async def test_a_job_that_fails_is_told_of_and_ends_nothing() -> None:
    async def fail() -> None:
        raise StoreUnavailable("closed")

    await guarded("roll_up", fail)


async def test_the_schedule_runs_until_it_is_stopped(redis_url: str, tmp_path: Path) -> None:
    stop = asyncio.Event()
    updates = PriceUpdates(Prices(tmp_path / "price-list.json"), "http://127.0.0.1:9/")
    settings = ObservabilitySettings(prices_refresh_hours=24)
    task = asyncio.create_task(
        run_schedule(redis_url, Store(tmp_path / "m.duckdb"), updates, settings, stop)
    )
    await asyncio.wait([task], timeout=0.3)
    assert not task.done()
    stop.set()
    await asyncio.wait_for(task, 20)


async def test_the_schedule_waits_for_a_redis_that_is_away(tmp_path: Path) -> None:
    stop = asyncio.Event()
    updates = PriceUpdates(Prices(tmp_path / "price-list.json"), "http://127.0.0.1:9/")
    url = f"unix://{tmp_path}/nobody.sock"
    task = asyncio.create_task(
        run_schedule(url, Store(tmp_path / "m.duckdb"), updates, ObservabilitySettings(), stop)
    )
    await asyncio.wait([task], timeout=0.3)
    assert not task.done()
    stop.set()
    await asyncio.wait_for(task, 20)
