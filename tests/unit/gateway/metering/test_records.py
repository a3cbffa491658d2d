"""Records reach analytics whatever is away for a while; what is lost is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.metering.records import (
    ENOUGH_WAITING,
    MAX_FINGERPRINT_BYTES,
    MAX_WAITING_RECORDS,
    SPOOL_RECORDS,
    Records,
)
from gateway.metering.spool import Spool
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable
from shared.runtime.metrics import Metrics
from tests.unit.gateway.conftest import KeepingBus


async def test_records_wait_while_the_bus_is_away_and_arrive_in_order() -> None:
    class Recovering(KeepingBus):
        failures = 2

        async def publish(self, channel: Any, payload: Any) -> None:
            if self.failures:
                self.failures -= 1
                raise BusUnavailable
            await super().publish(channel, payload)

    bus = Recovering()
    async with Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        for number in range(3):
            records.add(AccessRecord(str(number), 0.0))
        async with asyncio.timeout(10):
            arrived = await bus.records(3)
    assert [record.request_id for record in arrived] == ["0", "1", "2"]


async def test_what_is_still_waiting_at_the_end_is_published_then() -> None:
    bus = KeepingBus()
    async with Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        records.add(AccessRecord("last", 0.0))
    assert [record.request_id for record in bus.published] == ["last"]


async def test_waiting_records_are_bounded_and_losses_counted() -> None:
    records = Records(KeepingBus(), Metrics())  # type: ignore[arg-type]
    for number in range(MAX_WAITING_RECORDS + 5):
        records.add(AccessRecord(str(number), 0.0))
    assert records.lost == 5


class WatchedBus(KeepingBus):
    """A bus with a watcher of requests; `messages` are what is published, in order."""

    def __init__(self, *, watched: bool = True) -> None:
        super().__init__()
        self.watched = watched
        self.messages: list[dict[str, Any]] = []

    async def get(self, _key: str) -> bytes | None:
        return b"1" if self.watched else None

    async def publish(self, channel: Any, payload: Any) -> None:
        self.messages.append(payload)
        if "rows" in payload:
            await super().publish(channel, payload)


async def test_a_request_that_ends_while_starts_are_told_is_told_of_before_its_end() -> None:
    class Busy(WatchedBus):
        """A bus on which a second request begins and ends while the start of the first travels."""

        async def publish(self, channel: Any, payload: Any) -> None:
            await super().publish(channel, payload)
            if len(self.messages) == 1:
                run("second")

    def run(name: str) -> None:
        record = AccessRecord(name, 0.0)
        records.begin(record)
        records.add(record)

    bus = Busy()
    async with Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        run("first")
        async with asyncio.timeout(10):
            await bus.records(2)
    told = [
        "begun" if "begun" in message else "ended"
        for message in bus.messages
        if "second" in str(message)
    ]
    assert told[0] == "begun"


def some(count: int, start: int = 0) -> list[AccessRecord]:
    return [AccessRecord(f"r{number}", float(number)) for number in range(start, start + count)]


def spooled(directory: Path) -> bool:
    return any(directory.glob("*.records"))


class Switched(KeepingBus):
    """A bus that is away until `back` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.back = False
        self.refused = asyncio.Event()

    async def publish(self, channel: Any, payload: Any) -> None:
        if not self.back:
            self.refused.set()
            raise BusUnavailable
        await super().publish(channel, payload)


async def test_records_wait_on_disk_while_the_bus_is_away_and_arrive_later(tmp_path: Path) -> None:
    bus, every = Switched(), some(SPOOL_RECORDS + 20)
    async with (
        asyncio.timeout(20),
        Records(bus, Metrics(), Spool(tmp_path, 10_000_000), retry_seconds=0.01) as records,
    ):  # type: ignore[arg-type]
        for record in every:
            records.add(record)
        while not spooled(tmp_path):
            bus.refused.clear()
            await bus.refused.wait()
        bus.back = True
        arrived = await bus.records(len(every))
    assert {record.request_id for record in arrived} == {record.request_id for record in every}
    assert records.lost == 0


async def test_while_analytics_is_far_behind_records_wait_here_and_not_in_redis() -> None:
    class Behind(KeepingBus):
        many = ENOUGH_WAITING

        def __init__(self) -> None:
            super().__init__()
            self.asked = asyncio.Event()

        async def waiting(self, _channel: Any) -> int:
            self.asked.set()
            return self.many

    bus = Behind()
    async with asyncio.timeout(20), Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        records.add(AccessRecord("r", 0.0))
        await bus.asked.wait()
        assert not bus.published
        bus.many = 0
        await bus.records(1)


@pytest.mark.parametrize("watched", [True, False])
async def test_what_has_begun_is_told_first_and_only_to_those_who_look_on(watched: bool) -> None:
    bus, record = WatchedBus(watched=watched), AccessRecord("r", 0.0, model="m")
    async with asyncio.timeout(20), Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        records.begin(record)
        records.add(record)
        await bus.records(1)
    begun = [event for message in bus.messages[:1] for event in message.get("begun", ())]
    assert [(event["type"], event["request_id"], event["model"]) for event in begun] == (
        [("request_start", "r", "m")] if watched else []
    )


async def test_what_a_stopped_gateway_could_not_send_the_next_one_does(tmp_path: Path) -> None:
    bus, spool = Switched(), Spool(tmp_path, 10_000_000)
    async with Records(bus, Metrics(), spool, retry_seconds=0.01) as records:  # type: ignore[arg-type]
        for record in some(3):
            records.add(record)
    assert records.lost == 0
    bus.back = True
    async with asyncio.timeout(20), Records(bus, Metrics(), spool):  # type: ignore[arg-type]
        assert [record.request_id for record in await bus.records(3)] == ["r0", "r1", "r2"]


async def test_what_finds_no_room_on_the_disk_is_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    async with Records(Switched(), metrics, Spool(tmp_path, 100), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        for record in some(5):
            records.add(record)
    assert records.lost == 5
    assert b"ccproxy_records_lost_total 5.0" in metrics.snapshot()


async def test_a_message_has_no_more_fingerprints_than_its_bound_the_latest_stay() -> None:
    bus = KeepingBus()
    async with Records(bus, Metrics(), retry_seconds=0.01) as records:  # type: ignore[arg-type]
        for number in range(4):
            size = MAX_FINGERPRINT_BYTES // 2
            records.add(AccessRecord(str(number), 0.0, fingerprint="x" * size))
    arrived = await bus.records(4)
    assert [bool(record.fingerprint) for record in arrived] == [False, False, True, True]


async def test_records_that_wait_in_numbers_wait_without_fingerprints() -> None:
    records = Records(KeepingBus(), Metrics())  # type: ignore[arg-type]
    waiting = [
        AccessRecord(str(number), 0.0, fingerprint="x") for number in range(SPOOL_RECORDS + 1)
    ]
    for record in waiting:
        records.add(record)
    assert [bool(record.fingerprint) for record in waiting[-2:]] == [True, False]
