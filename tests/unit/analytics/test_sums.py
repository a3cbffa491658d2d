"""Sums by hour answer for whole hours; every question has the answer that the records alone give."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from analytics.consumer import Progress
from analytics.price_updates import PriceUpdates
from analytics.questions import Filter, Timeline, before_days
from analytics.schedule import roll_up, sum_up
from analytics.server import QueryServer
from analytics.store import Store
from analytics.sums import full_hour, whole_hours
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord, LogsQuery, encode_payload

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - DuckDB's TIMESTAMP is UTC without saying so
HOUR = timedelta(hours=1)
BEGUN = 1_760_000_000.5  # 53 min 20 s after a full hour
UPDATES = PriceUpdates(Prices(Path("nowhere/price-list.json")), "http://127.0.0.1:9/")


def between(start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    return {"start_time": start, "end_time": end, **more}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Thirty hours of records, one each ten minutes, of two models and three programs."""
    store = Store(tmp_path / "metrics.duckdb")
    await store.open()
    await store.insert([record(number) for number in range(180)])
    yield store
    await store.close()


def record(number: int, **facts: Any) -> AccessRecord:
    known: dict[str, Any] = {
        "request_id": f"r{number}",
        "timestamp": BEGUN + number * 600,
        "provider": "claude",
        "model": f"m{number % 2}",
        "client_program": f"p{number % 3}",
        "session_id": f"s{number // 10}",
        "status_code": 500 if number % 7 == 0 else 200,
        "duration_ms": 10.0 * number,
        "tokens_input": number,
        "cost_usd": None if number % 5 == 0 else 0.25,
    }
    return AccessRecord(**(known | facts))


async def ask(store: Store, name: str, limits: dict[str, int] | None = None, **asked: Any) -> Any:
    replies: list[Any] = []

    class Asked:
        payload = encode_payload(LogsQuery(name, asked))

        async def send(self, data: bytes) -> None:
            replies.append(orjson.loads(data))

    server = QueryServer(store, Progress(), UPDATES, **(limits or {}))
    await server.answer(Asked())  # type: ignore[arg-type]
    (answer,) = replies
    return {key: value for key, value in answer.items() if key not in {"query_time", "timestamp"}}


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("analytics", {}),
    ("analytics", {"start_time": BEGUN + 3600, "end_time": BEGUN + 9 * 3600}),
    ("analytics", {"failed": True, "model": "m1", "client_program": "p1"}),
    ("analytics", {"session_id": "s3"}),
    ("analytics", {"search": "m1"}),
    ("timeline", {"bucket": 7200}),
    ("timeline", {"bucket": 1800}),
    ("timeline", {"bucket": 86_400, "start_time": BEGUN + 3600}),
    ("groups", {"by": "model"}),
    ("groups", {"by": "client_program", "start_time": BEGUN + 3601}),
    ("entries", {"limit": 5, "failed": True}),
]


@pytest.mark.parametrize(("name", "asked"), QUESTIONS)
async def test_an_answer_is_the_same_from_sums_as_from_records(
    store: Store, name: str, asked: dict[str, Any]
) -> None:
    span: dict[str, Any] = {"start_time": BEGUN - 60, "end_time": BEGUN + 40 * 3600} | asked
    from_records = await ask(store, name, **span)
    await sum_up(store, BEGUN + 25 * 3600)
    assert await ask(store, name, **span) == from_records


async def test_the_sums_stand_in_for_the_records_of_their_hours(store: Store) -> None:
    await sum_up(store, BEGUN + 60 * 3600)
    # Without the records only the sums can answer.
    await store.change("forget_records")
    (row, *_) = await store.query("totals", Filter().bound())
    assert (row["requests"], row["succeeded"]) == (180, 154)
    assert await store.change("forget_recent_hours") > 0
    (row, *_) = await store.query("totals", Filter().bound())
    assert row["requests"] == 0


async def test_a_record_that_comes_late_is_added_to_the_sums_once(store: Store) -> None:
    await sum_up(store, BEGUN + 25 * 3600)
    late, fresh = record(500, timestamp=BEGUN + 70), record(501, timestamp=BEGUN + 26 * 3600)
    assert await store.insert([late, record(3), fresh]) == 2
    assert await store.insert([late]) == 0
    (row, *_) = await store.query("totals", Filter().bound())
    assert row["requests"] == 182
    assert await of_hours(store) == 145 + 1


async def test_records_are_summed_once_however_often_and_after_a_restart(store: Store) -> None:
    await sum_up(store, BEGUN + 5 * 3600)
    await store.close()
    await store.open()
    assert store.summed_until == before_days(BEGUN + 5 * 3600, 0)
    await sum_up(store, BEGUN + 25 * 3600)
    await sum_up(store, BEGUN + 5 * 3600)
    assert await of_hours(store) == 145


async def test_records_committed_while_hours_are_summed_are_counted(store: Store) -> None:
    batches = [[record(1000 + n, timestamp=BEGUN + n * 900)] for n in range(60)]

    async def insert_all() -> None:
        for batch in batches:
            await store.insert(batch)

    async def sum_step_by_step() -> None:
        for hour in range(30):
            await sum_up(store, BEGUN + hour * 3600)

    await asyncio.gather(insert_all(), sum_step_by_step())
    (row, *_) = await store.query("totals", Filter().bound())
    assert row["requests"] == 240


async def test_old_records_leave_the_sums_when_they_are_rolled_up(store: Store) -> None:
    now = BEGUN + 30 * 3600
    await sum_up(store, now)
    moved = await roll_up(store, 1, now)
    assert moved > 0
    (row, *_) = await store.query("totals", Filter().bound())
    assert row["requests"] == 180
    assert await of_hours(store) == 175 - moved


async def of_hours(store: Store) -> int:
    """The number of requests in the sums, as the file has it."""
    await store.close()
    with duckdb.connect(store.path) as connection:
        found = connection.execute("SELECT sum(requests)::BIGINT FROM recent_hours").fetchall()
    await store.open()
    return int(found[0][0])


async def test_what_was_spent_is_read_from_the_sums_and_the_edges(tmp_path: Path) -> None:
    store = Store(tmp_path / "metrics.duckdb")
    await store.open()
    now = time.time()
    ages = (60, 86_400 - 60, 86_400 + 60, 7 * 86_400 - 60, 7 * 86_400 + 60, 30 * 86_400 - 60)
    await store.insert([record(n, timestamp=now - age, model="m") for n, age in enumerate(ages)])
    before = await ask(store, "usage")
    assert [row["requests"] for row in before["results"]] == [2, 4, 6]
    assert [row["span"] for row in before["results"]] == ["24h", "7d", "30d"]
    await sum_up(store, now)
    assert await ask(store, "usage") == before
    await store.close()


async def test_a_text_is_looked_for_in_the_newest_records_and_the_answer_names_the_bound(
    store: Store,
) -> None:
    span: dict[str, Any] = {"start_time": BEGUN - 60, "end_time": BEGUN + 40 * 3600}
    whole = await ask(store, "entries", **span | {"search": "m1"})
    assert (whole["total_count"], "searched_since" in whole) == (90, False)
    few = await ask(store, "entries", {"most_searched": 20}, **span | {"search": "m1"})
    page = await ask(store, "entries", **span | {"search": "m1", "limit": 10, "offset": 85})
    assert (page["count"], page["total_count"], "total" in page["results"][0]) == (5, 90, False)
    behind = await ask(store, "entries", **span | {"search": "m1", "offset": 90})
    assert (behind["count"], behind["total_count"]) == (0, 90)
    assert whole["results"][85:] == page["results"]
    # The hour in which twenty are passed is looked at whole.
    assert few["searched_since"] % 3600 == 0
    assert few["searched_since"] == full(BEGUN + 179 * 600) - 3 * 3600
    assert few["total_count"] == 12
    earlier = span | {"search": "m1", "end_time": BEGUN + 3600}
    assert "searched_since" not in await ask(store, "entries", {"most_searched": 20}, **earlier)


async def test_sessions_are_those_of_the_newest_records_and_the_answer_names_the_bound(
    store: Store,
) -> None:
    span: dict[str, Any] = {"start_time": BEGUN - 60, "end_time": BEGUN + 40 * 3600}
    assert (await ask(store, "sessions", **span))["total_count"] == 18
    few = await ask(store, "sessions", {"most_in_sessions": 20}, **span)
    assert (few["total_count"], few["searched_since"] % 3600) == (3, 0)
    late = span | {"start_time": full(BEGUN + 179 * 600) + 60}
    few = await ask(store, "sessions", {"most_in_sessions": 1}, **late)
    assert few["searched_since"] == late["start_time"], "never before what was asked for"


def full(seconds: float) -> float:
    return seconds // 3600 * 3600


def test_whole_hours_lie_between_the_ends_and_before_the_last_summed_hour() -> None:
    start, end = NOON + timedelta(minutes=20), NOON + 5 * HOUR + timedelta(minutes=1)
    found = whole_hours(between(start, end), NOON + 9 * HOUR)
    assert found == {"whole_from": NOON + HOUR, "whole_until": NOON + 5 * HOUR}
    found = whole_hours(between(NOON, end), NOON + 3 * HOUR)
    assert found == {"whole_from": NOON, "whole_until": NOON + 3 * HOUR}


@pytest.mark.parametrize(
    "asked",
    [
        between(NOON, NOON + 9 * HOUR, session_id="s"),
        between(NOON, NOON + 9 * HOUR, search="s"),
        between(NOON, NOON + 9 * HOUR, bucket=5400),
        between(NOON + timedelta(minutes=1), NOON + timedelta(minutes=119)),
        between(NOON + 10 * HOUR, NOON + 20 * HOUR),
    ],
)
def test_no_sums_are_used_where_they_cannot_answer(asked: dict[str, Any]) -> None:
    found = whole_hours(asked, NOON + 9 * HOUR)
    assert found == {"whole_from": asked["start_time"], "whole_until": asked["start_time"]}


def test_a_full_hour_begins_an_hour() -> None:
    assert full_hour(NOON + timedelta(minutes=59, microseconds=1)) == NOON


def test_usual_steps_of_a_long_time_are_whole_hours() -> None:
    assert Timeline(start_time=0, end_time=90 * 86_400).step() % 3600 == 0
    assert Timeline(start_time=0, end_time=7200).step() == 120
    assert Timeline(start_time=0, end_time=90 * 86_400, bucket=60).step() % 3600 == 0
