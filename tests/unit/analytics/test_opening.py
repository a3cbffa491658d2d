"""The DuckDB file at its opening: held, foreign, newer or older, and closed to everything outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import duckdb
import pytest

from analytics.opening import open_file
from analytics.questions import Filter
from analytics.statements import MIGRATIONS
from analytics.store import Store
from shared.runtime.errors import StoreUnavailable
from tests.unit.analytics.test_store import record


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "deep/er/metrics.duckdb")
    await store.open()
    yield store
    await store.close()


async def test_nothing_can_undo_that_files_are_out_of_reach(store: Store, tmp_path: Path) -> None:
    with pytest.raises(duckdb.PermissionException):
        await store.export(Filter().bound(), tmp_path / "elsewhere.parquet")


@pytest.mark.parametrize(
    "statement",
    [
        "SET memory_limit = '10GB'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "FROM read_text('/etc/hostname')",
        "ATTACH '/tmp/other.duckdb'",
        "COPY access_records TO '/tmp/records.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_an_open_file_is_locked_against_a_statement(tmp_path: Path, statement: str) -> None:
    connection, _ = open_file(tmp_path / "metrics.duckdb", tmp_path / "exports")
    with connection, pytest.raises(duckdb.Error, match=r"configuration|disabled"):
        connection.execute(statement)


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
            (7,),
            (8,),
            (9,),
            (10,),
            (11,),
            (12,),
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
