"""The DuckDB file: every record once, one writer, and a sentence whenever it cannot be used."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analytics.opening import EPOCH, utc_time
from analytics.questions import EQUAL, Entries, Filter, before_days
from analytics.statements import STATEMENTS
from analytics.store import RecordRefused, Store
from shared.bus.channels import AccessRecord
from shared.runtime.errors import ClientError, StoreUnavailable

NOON = 1_760_000_000.123456


def record(number: int = 0, **facts: Any) -> AccessRecord:
    known: dict[str, Any] = {
        "request_id": f"r{number}",
        "timestamp": NOON + number,
        "status_code": 200,
        "service_type": "claude",
    }
    return AccessRecord(**(known | facts))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "deep/er/metrics.duckdb")
    await store.open()
    yield store
    await store.close()


async def newest(store: Store, **wanted: Any) -> list[str]:
    question = Entries(**wanted)
    return [
        row["request_id"] for row in await store.query("newest", question.bound() | question.page())
    ]


async def count(store: Store) -> int:
    return int((await store.query("count", Filter().bound()))[0]["total"])


async def test_every_field_of_a_record_comes_back_as_it_went_in(store: Store) -> None:
    samples = {
        "str": 'a"\n\0é🎈',
        "int": 7,
        "float": 1.5,
        "bool": True,
        "int | None": None,
        "float | None": 2.5,
    }
    filled = AccessRecord(
        **{field.name: samples[str(field.type)] for field in fields(AccessRecord)}
    )
    filled.timestamp = NOON
    await store.insert([filled])
    question = Entries()
    (row,) = await store.query("newest", question.bound() | question.page())
    assert row.pop("duration_seconds") == 0.0015
    assert row.pop("timestamp") == "2025-10-09T08:53:20.123456Z"
    expected = asdict(filled)
    del expected["timestamp"]
    del expected["fingerprint"]  # in a table of its own
    assert row == expected


async def test_records_handed_in_again_add_nothing(store: Store) -> None:
    assert await store.insert([record(1), record(2)]) == 2
    assert await store.insert([record(1), record(2)]) == 0
    assert await store.insert([record(2), record(3)]) == 1
    assert await newest(store) == ["r3", "r2", "r1"]


async def test_a_record_twice_in_one_batch_is_stored_once(store: Store) -> None:
    assert await store.insert([record(1), record(1), record(2)]) == 2


async def test_the_order_records_arrive_in_does_not_matter(store: Store) -> None:
    await store.insert([record(5), record(1)])
    await store.insert([record(3), record(5), record(9)])
    assert await newest(store) == ["r9", "r5", "r3", "r1"]


async def test_records_are_still_there_after_closing_and_opening_again(store: Store) -> None:
    await store.insert([record(1)])
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.insert([record(2)])
    await store.open()
    assert await store.insert([record(1), record(2)]) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"tokens_input": 2**63},
        {"timestamp": float("nan")},
        {"timestamp": 1e300},
        {"path": "\ud800"},
    ],
)
async def test_a_batch_with_a_value_no_column_holds_is_refused_whole(
    store: Store, facts: dict[str, Any]
) -> None:
    with pytest.raises(RecordRefused):
        await store.insert([record(1), record(2, **facts)])
    assert await count(store) == 0
    assert await store.insert([record(1)]) == 1


async def test_a_damaged_schema_is_never_blamed_on_the_records(store: Store) -> None:
    await store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("DROP TABLE access_records")
    with pytest.raises(StoreUnavailable, match="access_records does not exist"):
        await store.open()


async def test_filters_choose_the_records_they_name(store: Store) -> None:
    await store.insert(
        [
            record(
                1,
                model="opus",
                caller="ann",
                provider="claude",
                service_type="sdk",
                status_code=200,
            ),
            record(
                2,
                model="opus",
                caller="bob",
                provider="claude",
                service_type="proxy",
                status_code=429,
            ),
            record(
                3,
                model="gpt",
                caller="ann",
                provider="codex",
                service_type="proxy",
                status_code=500,
            ),
        ]
    )
    assert await newest(store, model="opus") == ["r2", "r1"]
    assert await newest(store, caller="ann") == ["r3", "r1"]
    assert await newest(store, provider="codex") == ["r3"]
    assert await newest(store, service_type="proxy") == ["r3", "r2"]
    assert await newest(store, service_type="proxy, sdk") == ["r3", "r2", "r1"]
    assert await newest(store, service_type="!proxy") == ["r1"]
    assert await newest(store, status_min=400, status_max=499) == ["r2"]
    assert await newest(store, start_time=NOON + 2, end_time=NOON + 3) == ["r2"]
    assert await newest(store, model="' OR 1=1 --") == []


@pytest.mark.parametrize("name", EQUAL)
async def test_every_filter_chooses_the_records_with_that_value_in_lists_and_in_sums(
    store: Store, name: str
) -> None:
    await store.insert([record(1, **{name: "wanted"}), record(2, **{name: "other"}), record(3)])
    assert await newest(store, **{name: "wanted"}) == ["r1"]
    totals = await store.query("totals", Filter.model_validate({name: "wanted"}).bound())
    assert [row["requests"] for row in totals if row["grouped_by"] == "all"] == [1]


async def test_a_search_finds_a_part_of_an_id_or_in_any_case_of_a_name_or_error(
    store: Store,
) -> None:
    await store.insert(
        [
            record(1, client_request_id="Trace-77"),
            record(2, error_message="The provider could not be REACHED."),
            record(3, model="claude-opus", path="/api/v1/messages"),
        ]
    )
    assert await newest(store, search="Trace-7") == ["r1"]
    assert await newest(store, search="be reached") == ["r2"]
    assert await newest(store, search="V1/Mess") == ["r3"]
    assert await newest(store, search="100%_") == []
    totals = await store.query("totals", Filter(search="opus").bound())
    assert [row["requests"] for row in totals if row["grouped_by"] == "all"] == [1]


async def test_a_request_is_found_by_our_id_and_by_the_clients(store: Store) -> None:
    await store.insert([record(1), record(2, client_request_id="r1-of-the-client"), record(3)])
    assert await newest(store, request_id="r1") == ["r1"]
    assert await newest(store, request_id="r1-of-the-client") == ["r2"]


async def test_failed_means_an_error_status_or_a_reply_that_broke_off(store: Store) -> None:
    await store.insert(
        [record(1, status_code=404), record(2, error_kind="upstream"), record(3, status_code=200)]
    )
    assert await newest(store, failed=True) == ["r2", "r1"]
    assert await newest(store, failed=False) == ["r3"]


async def test_refused_requests_stay_when_the_products_own_are_left_out(store: Store) -> None:
    await store.insert(
        [
            record(1, service_type="gateway", status_code=200),
            record(2, service_type="gateway", status_code=401),
            record(3, service_type="gateway", status_code=503),
            record(4, service_type="claude", status_code=200),
        ]
    )
    assert await newest(store, leave_out_own=True) == ["r4", "r2"]


async def test_the_tables_for_sql_keep_the_stacks_own_requests_apart(store: Store) -> None:
    await store.insert(
        [
            record(1, service_type="gateway", status_code=200, path="/dashboard"),
            record(2, service_type="gateway", status_code=401),
            record(3, service_type="gateway", status_code=503),
            record(4, service_type="claude", status_code=200),
        ]
    )
    ids = "SELECT request_id AS id FROM {} ORDER BY 1"
    requests = await store.query_freely(ids.format("requests"), 10)
    assert [row["id"] for row in requests] == ["r2", "r4"]
    own = await store.query_freely(ids.format("own_requests"), 10)
    assert [row["id"] for row in own] == ["r1", "r3"]
    await store.change("roll_up", "drop_rolled_up", before=before_days(NOON + 7200, 0))
    (hours,) = await store.query_freely("SELECT sum(requests) AS n FROM hours", 10)
    assert hours["n"] == 2
    assert (await totals(store))["requests"] == 4


async def test_pages_cover_everything_once_even_at_one_instant(store: Store) -> None:
    await store.insert([record(number, timestamp=NOON) for number in range(10)])
    pages = [await newest(store, limit=3, offset=offset) for offset in range(0, 12, 3)]
    assert sorted(chain(*pages)) == [f"r{number}" for number in range(10)]
    assert [len(page) for page in pages] == [3, 3, 3, 1]


async def test_oldest_first_is_the_other_way_round(store: Store) -> None:
    await store.insert([record(1), record(2), record(3)])
    question = Entries(limit=2)
    rows = await store.query("oldest", question.bound() | question.page())
    assert [row["request_id"] for row in rows] == ["r1", "r2"]


async def test_totals_of_nothing_are_zeros(store: Store) -> None:
    (row,) = await store.query("totals", Filter().bound())
    assert (row["grouped_by"], row["requests"], row["tokens_input"], row["avg_duration_ms"]) == (
        "all",
        0,
        0,
        0,
    )


async def test_a_query_whose_caller_leaves_is_interrupted(tmp_path: Path) -> None:
    endless = (
        "SELECT sum(a.range * b.range % 7) FROM range(1000000) a, range(1000000) b WHERE "
        "$start_time IS NOT NULL"
    )
    store = Store(tmp_path / "metrics.duckdb", STATEMENTS | {"endless": endless})
    await store.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store.query("endless", {"start_time": 1})
    assert await count(store) == 0
    await store.close()


def spent(**facts: Any) -> AccessRecord:
    return record(**({"tokens_input": 10, "tokens_output": 5, "duration_ms": 100.0} | facts))


async def totals(store: Store) -> dict[str, Any]:
    (row,) = [
        row for row in await store.query("totals", Filter().bound()) if row["grouped_by"] == "all"
    ]
    return row


async def test_old_records_become_sums_by_the_hour_that_count_the_same(store: Store) -> None:
    every = [
        spent(request_id=f"r{n}", timestamp=NOON + n * 600, cost_usd=0.5 if n % 2 else None)
        for n in range(12)
    ]
    await store.insert(every)
    before = await totals(store)
    assert (
        before["requests"],
        before["tokens_input"],
        before["cost_usd"],
        before["unpriced_tokens"],
    ) == (
        12,
        120,
        3,
        90,
    )
    cut = {"before": before_days(NOON + 3600, 0)}
    moved = await store.change("roll_up", "drop_rolled_up", **cut)
    assert 0 < moved < 12
    assert await count(store) == 12 - moved
    assert await totals(store) == before
    assert await store.change("roll_up", "drop_rolled_up", **cut) == 0
    late = spent(request_id="late", timestamp=NOON, cost_usd=0.25)
    await store.insert([late])
    await store.change("roll_up", "drop_rolled_up", **cut)
    assert (await totals(store))["requests"] == 13
    (hour, *_) = await store.query_freely("SELECT sum(requests) AS n FROM hours", 10)
    assert hour["n"] == moved + 1


async def test_a_timeline_tells_the_middle_and_the_slow_end(store: Store) -> None:
    await store.insert([spent(request_id=f"r{n}", duration_ms=float(n)) for n in range(101)])
    asked = Filter().bound() | {"bucket": 3600}
    (row,) = await store.query("timeline", asked | {"every": 1})
    assert row["requests"] == 101
    assert (row["duration_p50_ms"], row["duration_p95_ms"]) == (
        pytest.approx(50, abs=1),
        pytest.approx(95, abs=1),
    )
    assert row["start"] == NOON // 3600 * 3600
    await store.insert(
        [
            spent(request_id=f"s{n}", timestamp=NOON + 0.000001, duration_ms=900.0)
            for n in range(101)
        ]
    )
    (near,) = await store.query("timeline", asked | {"every": 2})  # of those of an even microsecond
    assert (near["requests"], near["duration_p50_ms"]) == (202, pytest.approx(50, abs=1))


async def test_a_select_over_the_records_is_answered_up_to_its_limit(store: Store) -> None:
    await store.insert([record(1, model="opus"), record(2, model="gpt"), record(3, model="gpt")])
    rows = await store.query_freely(
        "SELECT model, count(*) AS n FROM requests GROUP BY 1 ORDER BY n DESC", 10
    )
    assert rows == [{"model": "gpt", "n": 2}, {"model": "opus", "n": 1}]
    assert len(await store.query_freely("FROM requests", 2)) == 2
    joined = "SELECT r.model FROM requests r LEFT JOIN hours h USING (model)"
    assert len(await store.query_freely(joined, 10)) == 3


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT nothing FROM requests", "nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM read_csv('/etc/passwd')", "functions in FROM"),
        ("SELECT * FROM '/etc/passwd'", "passwd"),
        ("SELECT getenv('HOME') FROM requests", "getenv"),
        ("DELETE FROM access_records", "SELECT"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("COPY requests TO '/tmp/out.csv'", "SELECT"),
        ("SET memory_limit = '10GB'", "SELECT"),
        ("ATTACH 'other.duckdb'", "SELECT"),
        ("FROM requests WHERE model = $1", "arameter"),
        ("SELECT CAST(model AS INTEGER) FROM requests", "Conversion"),
        ("WITH x AS (DELETE FROM access_records) SELECT 1", "DELETE is not allowed"),
        ("WITH x AS (COPY requests TO 'records.csv') FROM x", "COPY is not allowed"),
        (
            "SELECT a.input FROM permission_audit a, (WITH permission_audit AS (SELECT 1) SELECT 2)",
            "'permission_audit' is not among",
        ),
        (
            "WITH permission_audit AS (FROM permission_audit) FROM permission_audit",
            "'permission_audit' is not among",
        ),
        (
            "WITH a AS (FROM permission_audit), permission_audit AS (SELECT 1) FROM a",
            "'permission_audit' is not among",
        ),
    ],
)
async def test_what_is_no_select_over_the_records_is_refused_in_words(
    store: Store, sql: str, words: str
) -> None:
    await store.insert([record(1, model="opus")])
    with pytest.raises(ClientError, match=words):
        await store.query_freely(sql, 10)
    assert await count(store) == 1


async def test_a_change_that_the_check_lets_through_is_refused_by_the_transaction(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "metrics.duckdb", check=lambda parsed: None)
    await store.open()
    with pytest.raises(ClientError, match="read-only"):
        await store.query_freely(
            "WITH x AS (INSERT INTO old_hours (requests) VALUES (1)) SELECT 1", 10
        )
    await store.close()


async def test_an_answer_of_long_texts_is_refused_before_it_fills_the_memory(store: Store) -> None:
    await store.insert([record(number, path="x" * 1000) for number in range(100)])
    longer = "WITH t0 AS (SELECT path AS s FROM requests LIMIT 1)"
    for number in range(10):
        longer += f", t{number + 1} AS (SELECT s || s AS s FROM t{number})"
    assert len(await store.query_freely(f"{longer} SELECT s FROM t10, requests", 20)) == 20
    with pytest.raises(ClientError, match="the first 33 rows take more than"):
        await store.query_freely(f"{longer} SELECT s FROM t10, requests", 100)


async def test_a_select_that_would_take_all_memory_is_ended(store: Store) -> None:
    await store.insert([record(number, path="x" * 1000) for number in range(3000)])
    cross = "SELECT max(len(a.path || b.path)) FROM requests a, requests b"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await store.query_freely(f"SELECT count(*) FROM ({cross} , requests c , requests d)", 1)
    assert await count(store) == 3000


async def test_an_export_holds_every_matching_record(store: Store) -> None:
    await store.insert([record(1, model="opus"), record(2, model="gpt"), record(3, model="gpt")])
    store.exports.mkdir()
    path = store.exports / "it's.parquet"
    await store.export(Filter(model="gpt").bound(), path)
    with duckdb.connect() as other:
        found = other.execute(
            "SELECT request_id, epoch(timestamp) FROM read_parquet(?)", [str(path)]
        ).fetchall()
    assert found == [("r2", NOON + 2), ("r3", NOON + 3)]


async def test_an_export_as_csv_gives_a_spreadsheet_no_formula(store: Store) -> None:
    await store.insert([record(1, model='=HYPERLINK("x")'), record(2, model="a,b"), record(3)])
    store.exports.mkdir()
    path = store.exports / "records.csv"
    await store.export(Filter().bound(), path, "csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ['\'=HYPERLINK("x")', "a,b", ""]
    assert rows[0]["timestamp"] == "2025-10-09T08:53:21.123456Z"
    assert list(rows[0]) == [
        field.name for field in fields(AccessRecord) if field.name != "fingerprint"
    ]


async def test_the_log_and_the_rows_in_memory_are_bounded_by_writing_the_file_often(
    store: Store,
) -> None:
    log = store.path.with_name(store.path.name + ".wal")
    sizes = []
    for batch in range(10):
        await store.insert([record(number) for number in range(batch * 2000, (batch + 1) * 2000)])
        sizes.append(log.stat().st_size if log.exists() else 0)
    assert max(sizes) < 6_000_000, sizes
    assert min(sizes[3:]) < sizes[2], "the log was written into the file"


async def prompts_of(store: Store, each: int = 2, most: int = 10) -> list[str]:
    rows = await store.query("recent_prompts", {"each": each, "most": most})
    return [row["fingerprint"] for row in rows]


async def test_the_last_prompts_of_each_conversation_come_back_earliest_first(
    store: Store,
) -> None:
    await store.insert(
        [
            *(record(number, session_id="s", fingerprint=f"f{number}") for number in (1, 2, 3)),
            record(4, session_id="s", agent_id="a", fingerprint="f4"),
            record(5, session_id="s"),
        ]
    )
    assert await store.insert([record(3, session_id="s", fingerprint="again")]) == 0
    assert await prompts_of(store) == ["f2", "f3", "f4"]
    assert await prompts_of(store, most=1) == ["f4"]
    (row,) = await store.query("recent_prompts", {"each": 1, "most": 1})
    assert (row["sent_at"], row["begun_at"]) == (NOON + 4, pytest.approx(NOON + 4.0))


async def test_old_fingerprints_go_but_for_the_last_ones_of_each_conversation(
    store: Store,
) -> None:
    numbers = (1, 2, 3, 4)
    await store.insert([record(each, session_id="s", fingerprint=f"f{each}") for each in numbers])
    times = {"before": EPOCH, "settled": utc_time(NOON + 3.5), "each": 1}
    await store.change("drop_old_fingerprints", **times)
    assert await prompts_of(store, each=9) == ["f3", "f4"]
    await store.change("drop_old_fingerprints", **times | {"before": utc_time(NOON + 60)})
    assert await prompts_of(store, each=9) == []
