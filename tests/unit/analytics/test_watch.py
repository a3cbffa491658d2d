"""Looking on: every record once, in order, and a slow watcher delays nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from analytics.watch import MOST_RUNNING, WAITING_EVENTS, Watchers
from shared.bus.channels import AccessRecord
from shared.bus.records import WATCHED_KEY
from shared.runtime.errors import BusUnavailable


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


class Keys:
    """Where it is told that somebody looks on."""

    def __init__(self, *, away: bool = False) -> None:
        self.told: list[str] = []
        self.away = away

    async def put(self, key: str, _value: bytes, *, ttl: float) -> None:
        if self.away:
            raise BusUnavailable
        assert ttl > 0
        self.told.append(key)


def record(number: int, **facts: Any) -> AccessRecord:
    return AccessRecord(f"r{number}", float(number), **({"status_code": 200} | facts))


async def test_records_come_as_events_that_say_how_they_ended() -> None:
    watchers, looking = Watchers(Keys()), Looking()
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


async def test_gateways_hear_that_somebody_looks_on_only_while_somebody_does() -> None:
    keys, looking = Keys(), Looking()
    watchers = Watchers(keys)
    telling = asyncio.create_task(watchers.keep_telling())
    await asyncio.sleep(0)
    assert not keys.told
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert keys.told == [WATCHED_KEY]
    watchers.show([{"type": "request_start", "request_id": "r1", "timestamp": 1.0}, record(1)])
    await looking.until(2)
    assert [event["type"] for event in looking.events] == ["request_start", "request_complete"]
    telling.cancel()
    task.cancel()
    await asyncio.gather(task, telling, return_exceptions=True)


async def test_records_are_shown_also_when_nobody_can_be_told() -> None:
    watchers, looking = Watchers(Keys(away=True)), Looking()
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    watchers.show([record(1)])
    await looking.until(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_slow_watcher_loses_the_oldest_and_is_told() -> None:
    watchers, looking = Watchers(Keys()), Looking()
    looking.may_read.clear()
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    watchers.show([record(0)])
    await asyncio.sleep(0)
    watchers.show(record(number) for number in range(1, WAITING_EVENTS + 11))
    looking.may_read.set()
    await looking.until(WAITING_EVENTS + 2)
    assert looking.events[0]["request_id"] == "r0"
    assert (looking.events[1]["type"], looking.events[1]["missed"]) == ("overflow", 10)
    assert looking.events[2]["request_id"] == "r11"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_new_watcher_first_gets_the_requests_that_run() -> None:
    watchers, looking = Watchers(Keys()), Looking()
    started = [
        {"type": "request_start", "request_id": f"r{number}", "timestamp": 1.0}
        for number in range(MOST_RUNNING + 2)
    ]
    watchers.show(started)
    watchers.show([record(MOST_RUNNING)])
    task = asyncio.create_task(watchers.serve(looking))  # type: ignore[arg-type]
    await looking.until(1)
    assert [event["request_id"] for event in looking.events] == [
        event["request_id"] for event in started[2:] if event["request_id"] != f"r{MOST_RUNNING}"
    ]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
