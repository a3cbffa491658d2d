"""Committed before acknowledged, once whatever happens, and nothing in the way of the rest."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analytics.consumer import SLOTS, RecordConsumer
from analytics.questions import Filter
from analytics.store import Store
from analytics.watch import Watchers
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack
from shared.runtime.errors import BusUnavailable, StoreUnavailable
from shared.runtime.metrics import AnalyticsMetrics, Metrics
from tests.unit.analytics.test_watch import Keys

PRICES = Prices(Path("nowhere/price-list.json"))


class Record:
    """A delivery from nowhere: knows whether it was acknowledged."""

    def __init__(self, payload: bytes, *, redis_away: bool = False) -> None:
        self.payload = payload
        self.redis_away = redis_away
        self.acknowledged = asyncio.Event()

    async def ack(self) -> None:
        self.acknowledged.set()
        if self.redis_away:
            raise BusUnavailable


def record(number: int, **facts: Any) -> Record:
    return Record(
        encode_payload(
            pack([AccessRecord(f"r{number}", 1_700_000_000.0 + number, status_code=200, **facts)])
        )
    )


async def stream(records: list[Record]) -> AsyncIterator[Record]:
    for each in records:
        yield each
    await asyncio.Event().wait()


class Consuming:
    """A consumer at work on a real file."""

    def __init__(self, store: Store) -> None:
        self.stop = asyncio.Event()
        self.told: list[str] = []
        self.troubled = asyncio.Event()
        self.consumer = RecordConsumer(
            store,
            AnalyticsMetrics(Metrics()),
            self.tell,
            PRICES,
            Watchers(Keys()),
            reopen_seconds=0.05,
        )
        self.progress = self.consumer.progress
        self._task: asyncio.Task[None] | None = None

    def tell(self, *, problem: str) -> None:
        self.told.append(problem)
        if problem:
            self.troubled.set()

    def start(self, records: list[Record] | AsyncIterator[Record]) -> None:
        deliveries = stream(records) if isinstance(records, list) else records
        self._task = asyncio.create_task(self.consumer.run(deliveries, self.stop))

    async def end(self) -> None:
        self.stop.set()
        if self._task is not None:
            await self._task


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "metrics.duckdb")


@pytest.fixture
async def consuming(store: Store) -> AsyncIterator[Consuming]:
    consuming = Consuming(store)
    yield consuming
    await consuming.end()
    await store.close()


async def rows(store: Store) -> int:
    return int((await store.query("count", Filter().bound()))[0]["total"])


async def acknowledged(records: list[Record]) -> None:
    await asyncio.gather(*(each.acknowledged.wait() for each in records))


async def test_a_record_is_committed_before_it_is_acknowledged(
    store: Store, consuming: Consuming
) -> None:
    one = record(1)
    consuming.start([one])
    await one.acknowledged.wait()
    assert await rows(store) == 1
    assert consuming.progress.committed == consuming.progress.batches == 1
    assert consuming.told == [""]


async def test_many_records_share_few_commits(store: Store, consuming: Consuming) -> None:
    many = [record(number) for number in range(SLOTS * 3)]
    consuming.start(many)
    await acknowledged(many)
    assert await rows(store) == SLOTS * 3
    assert consuming.progress.batches <= 7


@pytest.mark.parametrize(
    "payload", [b"", b"not json", b"[1]", b'{"columns":["request_id"],"rows":[["a"]]}', b"\xff"]
)
async def test_what_is_no_record_is_let_go_and_the_rest_arrives(
    store: Store, consuming: Consuming, payload: bytes
) -> None:
    odd, good = Record(payload), record(1)
    consuming.start([odd, good])
    await acknowledged([odd, good])
    assert await rows(store) == 1
    assert consuming.progress.refused == 1


async def test_a_record_no_column_can_hold_is_found_among_many(
    store: Store, consuming: Consuming
) -> None:
    many = [record(number, tokens_input=2**63 if number in (3, 77) else 1) for number in range(100)]
    consuming.start(many)
    await acknowledged(many)
    assert await rows(store) == 98
    assert consuming.progress.refused == 2


async def test_a_delivery_of_many_records_loses_only_those_that_cannot_be_stored(
    store: Store, consuming: Consuming
) -> None:
    known = [
        AccessRecord(f"m{number}", 1.0, tokens_input=2**63 if number == 2 else 1)
        for number in range(5)
    ]
    odd = b'{"columns":["request_id","timestamp"],"rows":[["x",null],["y",1]]}'
    many = [Record(encode_payload(pack(known))), Record(odd), Record(encode_payload(pack([])))]
    consuming.start(many)
    await acknowledged(many)
    assert await rows(store) == 5
    assert consuming.progress.refused == 2


async def test_a_record_from_a_newer_gateway_is_kept_without_what_is_unknown(
    store: Store, consuming: Consuming
) -> None:
    newer = Record(b'{"columns":["request_id","timestamp","invented_later"],"rows":[["a",1,true]]}')
    consuming.start([newer])
    await newer.acknowledged.wait()
    assert await rows(store) == 1


async def test_an_acknowledgement_that_fails_stops_nothing(
    store: Store, consuming: Consuming
) -> None:
    lost, next_one = record(1), record(2)
    lost.redis_away = True
    consuming.start([lost, next_one])
    await acknowledged([lost, next_one])
    assert await rows(store) == 2


async def test_records_wait_while_another_program_holds_the_file(
    store: Store, consuming: Consuming
) -> None:
    refusals = asyncio.Event()
    one = record(1)

    class Held(Store):
        async def open(self) -> None:
            if not refusals.is_set():
                refusals.set()
                raise StoreUnavailable("Another program (PID 7) holds it.")
            await super().open()

    held = Held(store.path)
    patient = Consuming(held)
    patient.start([one])
    await refusals.wait()
    assert not one.acknowledged.is_set()
    await one.acknowledged.wait()
    assert patient.told == ["Another program (PID 7) holds it.", ""]
    await patient.end()
    await held.close()


async def test_a_process_that_never_gets_the_file_still_stops(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    consuming = Consuming(Store(tmp_path / "file/metrics.duckdb"))
    one = record(1)
    consuming.start([one])
    await consuming.end()
    assert not one.acknowledged.is_set()


@pytest.fixture
def fill_disk() -> Iterator[Callable[[int], None]]:
    """Let no file grow past so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


async def test_a_full_disk_loses_nothing(
    store: Store, consuming: Consuming, fill_disk: Callable[[int], None]
) -> None:
    await store.open()
    await store.close()
    fill_disk(store.path.stat().st_size + 100_000)
    small, big = record(1), record(2, error_message="x" * 3_000_000)
    consuming.start([small, big])
    await consuming.troubled.wait()
    assert not big.acknowledged.is_set()
    fill_disk(resource.RLIM_INFINITY)
    await acknowledged([small, big])
    assert await rows(store) == 2
    assert consuming.told[-1] == ""


async def test_what_was_taken_is_committed_when_the_process_stops(
    store: Store, consuming: Consuming
) -> None:
    many = [record(number) for number in range(20)]
    taken = asyncio.Event()

    async def watched() -> AsyncIterator[Record]:
        for each in many:
            yield each
        taken.set()
        await asyncio.Event().wait()

    stop = asyncio.Event()
    running = asyncio.create_task(consuming.consumer.run(watched(), stop))
    await taken.wait()
    stop.set()
    await running
    assert all(each.acknowledged.is_set() for each in many)
    await store.close()
    with duckdb.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM access_records").fetchall() == [(20,)]
