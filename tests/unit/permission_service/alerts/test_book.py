"""A decision is stored before it is announced, outlives its process, and is void if it cannot be
stored.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from permission_service.alerts.alert import Condition, Decision, Words, ended, raised
from permission_service.alerts.book import ALERTS_KEY, END_SECONDS, KEPT, AlertBook
from shared.runtime.errors import BusUnavailable
from tests.unit.permission_service.conftest import MemoryBus, Room

WORDS = Words("Claude: the 5h window is used up", "It resets soon.")


def gone(room: Room, subject: str = "claude 5h", ends_in: float = 3600.0) -> Decision:
    ends_at = room.clock() + ends_in
    return raised(Condition("quota", subject, "gone", ends_at, ends_at), WORDS, room.clock())


async def book_of(room: Room) -> AlertBook:
    await room.server.load()
    return room.alerts


async def test_an_alert_is_shown_counted_and_sent_to_watchers(room: Room) -> None:
    book = await book_of(room)
    watcher = room.watch()
    await watcher.until(1)
    await book.settle(lambda _: [gone(room)])
    event = (await watcher.until(2))[1]
    assert (event["name"], event["data"]["title"]) == ("alert", WORDS.title)
    (shown,) = (await room.question("notices"))["notices"]
    assert (shown["type"], shown["kind"], shown["level"]) == ("alert", "quota", "gone")
    assert b'ccproxy_alerts_total{kind="quota"} 1.0' in room.metrics.snapshot()


async def test_a_decision_that_cannot_be_stored_changes_nothing_and_is_heard_by_nobody(
    room: Room, bus: MemoryBus
) -> None:
    book = await book_of(room)
    bus.down = True
    with pytest.raises(BusUnavailable):
        await book.settle(lambda _: [gone(room)])
    bus.down = False
    assert (await room.question("notices"))["notices"] == []
    assert list(book.waiting("ntfy")) == []
    await book.settle(lambda conditions: [gone(room)] if not conditions else [])
    assert len(list(book.waiting("ntfy"))) == 1


async def test_a_restart_keeps_conditions_alerts_and_marks(
    make_room: Callable[..., Room],
) -> None:
    room = make_room()
    book = await book_of(room)
    decision = gone(room)
    assert decision.alert is not None
    await book.settle(lambda _: [decision])
    await book.mark(decision.alert.id, "ntfy", sent=True)
    again = await book_of(make_room(room.clock))
    assert list(again.waiting("ntfy")) == []
    (waiting,) = again.waiting("webhook")
    assert (waiting.id, waiting.ways) == (decision.alert.id, ["ntfy"])
    await again.settle(lambda conditions: [] if conditions else [gone(room)])
    assert len(again.show()) == 1


async def test_an_alert_waits_while_its_condition_lasts_and_is_the_latest_of_it(
    room: Room,
) -> None:
    book = await book_of(room)
    ends_at = room.clock() + 60
    near = raised(Condition("quota", "claude 5h", "near", ends_at, ends_at), WORDS, room.clock())
    await book.settle(lambda _: [near])
    await book.settle(lambda _: [gone(room, ends_in=60)])
    assert [alert.level for alert in book.waiting("ntfy")] == ["gone"]
    room.clock.now += 60
    assert list(book.waiting("ntfy")) == []


async def test_an_end_waits_only_for_the_ways_that_sent_the_beginning_and_not_for_long(
    room: Room,
) -> None:
    book = await book_of(room)
    begun = gone(room)
    assert begun.condition is not None
    assert begun.alert is not None
    over = ended(begun.condition, "back", Words("back", ""), room.clock())
    await book.settle(lambda _: [begun])
    await book.mark(begun.alert.id, "ntfy", sent=True)
    await book.settle(lambda _: [over])
    assert [alert.level for alert in book.waiting("ntfy")] == ["back"]
    assert list(book.waiting("webhook")) == []
    room.clock.now += END_SECONDS
    assert list(book.waiting("ntfy")) == []


async def test_a_message_that_did_not_leave_waits_again(room: Room) -> None:
    book = await book_of(room)
    decision = gone(room)
    assert decision.alert is not None
    await book.settle(lambda _: [decision])
    for sent in (True, False):
        await book.mark(decision.alert.id, "ntfy", sent=sent)
    assert book.waits(decision.alert.id, "ntfy")


async def test_the_oldest_alerts_make_room(room: Room) -> None:
    book = await book_of(room)
    for number in range(KEPT + 5):
        await book.settle(lambda _, number=number: [gone(room, f"claude {number}h")])
    assert len(book.show()) == KEPT
    assert book.show()[0]["subject"] == "claude 5h"


async def test_a_state_of_another_version_is_left_aside(room: Room, bus: MemoryBus) -> None:
    bus.keys[ALERTS_KEY] = b'{"conditions": [{"kind": "weather"}]}'
    book = await book_of(room)
    await book.settle(lambda conditions: [] if conditions else [gone(room)])
    assert len(book.show()) == 1
