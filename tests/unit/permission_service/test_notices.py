"""News beside the events of requests: in one order, bounded, and without hidden characters."""

from __future__ import annotations

import asyncio

from permission_service.notices import KEPT, PER_CALLER
from tests.unit.permission_service.conftest import Room


async def test_news_and_requests_come_in_one_order_and_once(room: Room) -> None:
    watcher = room.watch()
    await watcher.until(1)
    room.ask("a")
    await room.pending("a")
    await room.question("notice", "alice", kind="done", text="\x1b[2Jx")
    await room.decide("a")
    _, *events = await watcher.until(4)
    assert [event["name"] for event in events] == [
        "permission_request",
        "notice",
        "permission_resolved",
    ]
    numbers = [event["number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert (events[1]["data"]["caller"], "\x1b" in events[1]["data"]["text"]) == ("alice", False)
    again = room.watch(numbers[0])
    assert [event.get("number") for event in await again.until(3)] == [
        None,
        *numbers[1:],
    ]


async def test_a_caller_with_much_news_takes_no_room_from_others(room: Room) -> None:
    first = await room.question("notice", "bob", kind="waits")
    assert first == {"status": "told"}
    await asyncio.gather(
        *(room.question("notice", "mallory", kind="done") for _ in range(2 * KEPT))
    )
    watcher = room.watch(0)
    events = (await watcher.until(PER_CALLER + 2))[1:]
    assert [event["data"]["caller"] for event in events] == ["bob", *["mallory"] * PER_CALLER]


async def test_numbers_without_an_event_do_not_hold_up_a_watcher(room: Room) -> None:
    """A watcher behind dropped numbers waits for news; a loop without a wait would stop the
    service.
    """
    watcher = room.watch(0)
    await watcher.until(1)
    room.desk.take_number(room.clock())
    room.ask("a")
    await room.pending("a")
    room.desk.take_number(room.clock())
    async with asyncio.timeout(5):
        assert len(await watcher.until(2)) == 2
        await room.decide("a")
        await watcher.until(3)
