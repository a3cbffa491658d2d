"""A file that is removed, replaced, cut or garbled under the one process that has it open."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import duckdb
import pytest

from analytics.damage import identity_of, is_damage, is_duckdb_file, set_aside
from analytics.store import Store
from shared.bus.channels import AccessRecord
from shared.runtime.errors import StoreUnavailable
from tests.unit.analytics.test_consumer import Consuming, Record, acknowledged, record, rows

HEADERS = 3 * 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole file with many rows of somebody else's, in several blocks."""
    path = tmp_path / "metrics.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(
            "CREATE TABLE padding AS SELECT hash(i)::VARCHAR AS word FROM range(200000) r(i)"
        )
    return path


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garble_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(HEADERS))


def garble_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(8192))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the consumer does by itself."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = Store(path)
    yield store
    await store.close()


@pytest.fixture
async def consuming(store: Store) -> AsyncIterator[Consuming]:
    consuming = Consuming(store)
    yield consuming
    await consuming.end()


@pytest.mark.parametrize("break_file", [halve, garble_header, empty])
async def test_a_file_damaged_before_the_start_is_kept_and_a_new_one_begun(
    store: Store, break_file: Callable[[Path], None]
) -> None:
    break_file(store.path)
    await store.open()
    [aside] = store.path.parent.glob("metrics.duckdb.unreadable-*")
    assert str(aside) in store.note
    assert await rows(store) == 0
    assert store.trouble() == ""


async def test_a_file_that_another_process_holds_is_not_set_aside(store: Store) -> None:
    holder = (
        "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); "
        "sys.stdin.read()"
    )
    command = (sys.executable, "-c", holder, str(store.path))
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, **pipes)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    with pytest.raises(StoreUnavailable, match=f"PID {process.pid}"):
        await store.open()
    process.kill()
    await process.wait()
    await store.open()
    assert store.note == ""


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_no_record_goes_into_a_file_that_is_gone(store: Store, what: str) -> None:
    await store.open()
    await store.insert([AccessRecord("r1", 1_700_000_000.0)])
    if what == "replaced":
        with duckdb.connect(store.path.with_name("other")):
            pass
        store.path.with_name("other").rename(store.path)
    else:
        store.path.unlink()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.insert([AccessRecord("r2", 1_700_000_001.0)])
    await store.close()
    await store.open()
    await store.insert([AccessRecord("r2", 1_700_000_001.0)])
    assert await rows(store) == 1
    assert store.trouble() == ""


async def test_a_record_that_comes_after_the_loss_is_in_the_new_file(
    consuming: Consuming, store: Store
) -> None:
    records = [record(1), record(2)]
    lost = asyncio.Event()

    async def deliveries() -> AsyncIterator[Record]:
        yield records[0]
        await lost.wait()
        yield records[1]
        await asyncio.Event().wait()

    consuming.start(deliveries())
    await acknowledged(records[:1])
    store.path.unlink()
    lost.set()
    await acknowledged(records[1:])
    assert await rows(store) == 1
    assert store.size() > 0


async def test_the_loss_of_the_file_is_noticed_while_no_record_comes(
    consuming: Consuming, store: Store
) -> None:
    consuming.start([])
    await until(lambda: not store.problem)
    store.path.unlink()
    await asyncio.wait_for(consuming.troubled.wait(), 10)
    await until(lambda: not store.problem and store.path.exists())
    assert any("removed or replaced" in told for told in consuming.told)
    assert await rows(store) == 0


async def test_damage_that_a_query_meets_is_said_and_the_file_set_aside(
    consuming: Consuming, store: Store
) -> None:
    consuming.start([])
    await until(lambda: not store.problem)
    await store.close()
    garble_middle(store.path)
    await store.open()
    with pytest.raises(StoreUnavailable, match="is damaged"):
        await store._run(read_padding)
    await until(lambda: bool(store.note) and not store.problem)
    assert consuming.told[-1] == store.note
    assert await rows(store) == 0


def read_padding(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("SELECT max(word) FROM padding").fetchall()
    finally:
        cursor.close()


async def test_queries_that_run_end_when_the_file_is_closed(store: Store) -> None:
    await store.open()
    running = asyncio.create_task(store._run(run_for_ever))
    await asyncio.sleep(0)
    await asyncio.wait_for(store.close("being replaced"), 10)
    with pytest.raises(StoreUnavailable, match="being replaced"):
        await running


def run_for_ever(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("SELECT count(*) FROM range(1000000000) a, range(1000000000) b").fetchall()
    finally:
        cursor.close()


def test_a_file_of_another_name_is_ours_only_if_duckdb_has_written_it(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("something else")
    assert not is_duckdb_file(tmp_path / "notes.txt")
    assert is_duckdb_file(path.rename(tmp_path / "records"))


def test_the_log_of_the_file_is_set_aside_with_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.duckdb"
    path.write_text("file")
    path.with_name("metrics.duckdb.wal").write_text("log")
    aside = set_aside(path, now=0)
    assert aside.name == "metrics.duckdb.unreadable-19700101T000000Z"
    assert aside.with_name(f"{aside.name}.wal").read_text() == "log"
    assert identity_of(path) is None
    assert identity_of(aside) is not None


@pytest.mark.parametrize(
    ("words", "damage"),
    [
        (
            'IO Error: Could not read enough bytes from file "x": attempted to read 262144 bytes',
            True,
        ),
        ('IO Error: The file "x" exists, but it is not a valid DuckDB database file!', True),
        (
            "Corrupt database file: computed checksum 1 does not match stored checksum 2 in block",
            True,
        ),
        ("IO Error: Could not set lock on file: Conflicting lock is held in python (PID 7)", False),
        ("IO Error: Could not write file: No space left on device", False),
    ],
)
def test_only_words_about_the_content_speak_of_damage(words: str, damage: bool) -> None:
    assert is_damage(words) is damage
