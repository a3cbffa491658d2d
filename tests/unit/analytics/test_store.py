"""The DuckDB file: every record once, one writer, and a sentence whenever it cannot be used."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analytics.questions import EQUAL, Entries, Filter, before_days
from analytics.store import MIGRATIONS, STATEMENTS, RecordRefused, Store
from shared.bus.channels import AccessRecord
from shared.runtime.errors import ClientError, StoreUnavailable

NOON = 1_760_000_000.123456


def record(number: int = 0, **facts: Any) -> AccessRecord:
    known: dict[str, Any] = {
        "request_id": f"r{number}",
        "timestamp": NOON + number,
        "status_code": 200,
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
    ],
)
async def test_what_is_no_select_over_the_records_is_refused_in_words(
    store: Store, sql: str, words: str
) -> None:
    await store.insert([record(1, model="opus")])
    with pytest.raises(ClientError, match=words):
        await store.query_freely(sql, 10)
    assert await count(store) == 1


async def test_a_select_that_would_take_all_memory_is_ended(store: Store) -> None:
    await store.insert([record(number, path="x" * 1000) for number in range(3000)])
    cross = "SELECT max(len(a.path || b.path)) FROM requests a, requests b"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await store.query_freely(f"SELECT count(*) FROM ({cross} , requests c , requests d)", 1)
    assert await count(store) == 3000


async def test_nothing_can_undo_that_files_are_out_of_reach(store: Store, tmp_path: Path) -> None:
    with pytest.raises(duckdb.PermissionException):
        await store.export(Filter().bound(), tmp_path / "elsewhere.parquet")


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


@pytest.fixture
def held_file(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    path = tmp_path / "held.duckdb"
    hold = (
        "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield path, holder


async def test_a_file_held_by_another_program_is_named_with_its_holder(
    held_file: tuple[Path, subprocess.Popen[bytes]],
) -> None:
    path, holder = held_file
    store = Store(path)
    with pytest.raises(StoreUnavailable, match=rf"PID {holder.pid}\) holds .*held.duckdb"):
        await store.open()
    with pytest.raises(StoreUnavailable, match=f"PID {holder.pid}"):
        await store.query("extent", {})
    holder.communicate()
    await store.open()
    assert await store.insert([record()]) == 1
    await store.close()


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("something else " * 1000)
    with pytest.raises(StoreUnavailable, match="not a valid DuckDB database"):
        await Store(path).open()
    assert path.read_text().startswith("something else")


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await Store(tmp_path / "file/metrics.duckdb").open()


async def test_the_directory_is_private(store: Store) -> None:
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_from_a_newer_version_is_not_touched(store: Store) -> None:
    await store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (999, now()::TIMESTAMP)")
    with pytest.raises(StoreUnavailable, match="newer CCProxy"):
        await store.open()


async def test_a_table_the_predecessor_left_in_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE access_logs AS SELECT 1 AS request_id")
    store = Store(path)
    await store.open()
    await store.insert([record()])
    await store.close()
    with duckdb.connect(path) as connection:
        assert connection.execute("FROM access_logs").fetchall() == [(1,)]


async def test_a_migration_is_applied_once(store: Store) -> None:
    await store.close()
    await store.open()
    await store.close()
    with duckdb.connect(store.path) as connection:
        assert connection.execute("SELECT version FROM schema_versions").fetchall() == [
            (1,),
            (2,),
            (3,),
            (4,),
            (5,),
            (6,),
        ]


async def test_a_file_of_an_earlier_version_keeps_who_paid_under_the_new_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "earlier.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE schema_versions (version INTEGER, applied_at TIMESTAMP)")
        for version, script in enumerate(MIGRATIONS[:5], start=1):
            connection.execute(script)
            connection.execute("INSERT INTO schema_versions VALUES (?, now())", [version])
        connection.execute("INSERT INTO access_records (request_id, lane) VALUES ('r', 'api_key')")
    store = Store(path)
    await store.open()
    await store.close()
    with duckdb.connect(path) as connection:
        rows = connection.execute("SELECT request_id, billed_to FROM access_records").fetchall()
    assert rows == [("r", "api_key")]


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
