"""Looking on: every record once, in order, and a slow watcher delays nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from analytics.watch import WAITING_RECORDS, Watchers
from shared.channels import AccessRecord


class Looking:
    """A watcher whose reading can be held up."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.sent = asyncio.Condition()

    async def send(self, data: bytes) -> None:
        await self.may_read.wait()
        async with self.sent:
            self.events += orjson.loads(data)
            self.sent.notify_all()

    async def until(self, count: int) -> None:
        async with self.sent:
            await self.sent.wait_for(lambda: len(self.events) >= count)


def record(number: int, **facts: Any) -> AccessRecord:
    return AccessRecord(f"r{number}", float(number), **({"status_code": 200} | facts))


async def test_records_come_as_events_that_say_how_they_ended() -> None:
    watchers, looking = Watchers(), Looking()
    watchers.show([record(0)])
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    watchers.show([record(1), record(2, status_code=529), record(3, error_kind="cancelled")])
    await looking.until(3)
    assert [(event["type"], event["request_id"]) for event in looking.events] == [
        ("request_complete", "r1"),
        ("request_error", "r2"),
        ("request_error", "r3"),
    ]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    watchers.show([record(4)])


async def test_a_slow_watcher_loses_the_oldest_and_is_told() -> None:
    watchers, looking = Watchers(), Looking()
    looking.may_read.clear()
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    watchers.show([record(0)])
    await asyncio.sleep(0)
    watchers.show(record(number) for number in range(1, WAITING_RECORDS + 11))
    looking.may_read.set()
    await looking.until(WAITING_RECORDS + 2)
    assert looking.events[0]["request_id"] == "r0"
    assert (looking.events[1]["type"], looking.events[1]["missed"]) == ("overflow", 10)
    assert looking.events[2]["request_id"] == "r11"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
