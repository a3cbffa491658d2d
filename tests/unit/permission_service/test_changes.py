"""Every change of a permission request is stored before anybody hears of it, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shared.runtime.errors import BusUnavailable, Conflict
from tests.support.operations import counted
from tests.unit.permission_service.conftest import MemoryBus, Room


async def test_of_two_answers_at_once_one_is_first_a_hundred_times(room: Room) -> None:
    for number in range(100):
        asked = room.ask(f"p{number}")
        await room.pending(f"p{number}")
        answers = await asyncio.gather(
            room.decide(f"p{number}", True, "one"),
            room.decide(f"p{number}", False, "two"),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers].count(Conflict) == 1
        (decision,) = await asked.until(1)
        assert (decision["decided_by"] == "one") == isinstance(answers[1], Conflict)


async def test_expiry_answers_with_its_message(room: Room) -> None:
    asked = room.ask("a", timeout_seconds=0.05)
    await room.pending("a")
    room.clock.now += 0.05
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "expired"
    assert decision["message"].startswith("Nobody answered within 0.05 seconds")


async def test_what_expired_while_no_desk_was_there_is_not_shown_as_pending(room: Room) -> None:
    asked = room.ask("a", timeout_seconds=5, asked_at=room.clock() - 10)
    (decision,) = await asked.until(1)
    assert decision["outcome"] == "expired"


class TestRedisAway:
    async def test_an_answer_that_could_not_be_kept_is_no_answer(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a")
        await room.pending("a")
        bus.down = True
        with pytest.raises(BusUnavailable):
            await room.decide("a")
        await room.pending("a")
        bus.down = False
        await room.decide("a", False)
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "denied"

    async def test_an_expiry_waits_for_redis_and_then_counts(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a", timeout_seconds=0.02)
        await room.pending("a")
        bus.down = True
        room.clock.now += 1
        await asyncio.sleep(0.05)
        assert asked.replies == []
        bus.down = False
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "expired"


async def test_every_end_is_recorded_with_who_and_how_long(room: Room, bus: MemoryBus) -> None:
    asked = room.ask("a")
    await room.pending("a")
    room.clock.now += 2
    await room.decide("a", updated_input={"command": "touch y"})
    await asked.until(1)
    (record,) = bus.published
    assert (record.outcome, record.decided_by, record.caller, record.waited_ms) == (
        "allowed",
        "bob",
        "alice",
        2000,
    )
    assert (record.input, record.updated_input) == (
        '{"command":"touch x"}',
        '{"command":"touch y"}',
    )


async def test_an_ended_request_keeps_an_excerpt_and_its_log_entry_keeps_more(
    room: Room, bus: MemoryBus
) -> None:
    asked = room.ask("a", command="x" * 50_000)
    await room.pending("a")
    await room.decide("a")
    await asked.until(1)
    await asked.task  # type: ignore[attr-defined]
    (record,) = bus.published
    assert len(record.input) > 50_000
    assert len((await room.question("get", request_id="a"))["input"]["command"]) < 300
    assert sum(map(len, bus.keys.values())) < 2000


async def test_a_request_forgotten_for_its_number_leaves_redis_too(
    make_room: Callable[[], Room], bus: MemoryBus
) -> None:
    room = make_room()
    await (room.ask("a", timeout_seconds=0.01, asked_at=room.clock() - 1)).until(1)
    assert list(bus.keys) == ["permission:request:a"]
    room.clock.now += 4000
    room.ask("b")
    await room.pending("b")
    assert list(bus.keys) == ["permission:request:b"]


async def test_a_decision_wakes_no_asker_of_another_request(room: Room) -> None:
    waiting = [f"waits-{number}" for number in range(60)]
    names = (f"new-{number}" for number in range(4))

    async def decided() -> int:
        """Return the operations from an answer to the decision that its asker got."""
        name = next(names)
        asked = room.ask(name)
        await room.pending(*(stored.id for stored in room.desk.pending()), name)
        with counted() as operations:
            await room.decide(name)
            await asked.until(1)
        return operations.count

    await decided()
    alone = await decided()
    for name in waiting:
        room.ask(name, caller=name)
    await room.pending(*waiting)
    beside_many = await decided()
    assert beside_many < alone * 1.1
