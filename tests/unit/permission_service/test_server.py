"""The next permission service goes on with the requests of the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.unit.permission_service.conftest import MemoryBus, Room


class TestAnotherDeskTakesOver:
    async def test_a_pending_ask_is_found_again_under_its_number_and_can_be_answered(
        self, make_room: Callable[[], Room]
    ) -> None:
        first = make_room()
        stopped = first.ask("a")
        await first.pending("a")
        (number,) = [event.number for event in first.desk.events_after(0)]
        stopped.task.cancel()  # type: ignore[attr-defined]
        second = make_room()
        await second.server.load()
        await second.pending("a")
        await second.decide("a")
        asked = second.ask("a")  # delivered again
        (decision,) = await asked.until(1)
        assert decision["outcome"] == "allowed"
        assert next(second.desk.events_after(0)).number == number

    async def test_what_was_decided_is_not_asked_again(
        self, make_room: Callable[[], Room], bus: MemoryBus
    ) -> None:
        first = make_room()
        first.ask("a")
        await first.pending("a")
        await first.decide("a", False, message="no")
        second = make_room()
        await second.server.load()
        (decision,) = await second.ask("a").until(1)
        assert (decision["outcome"], decision["message"]) == ("denied", "no")
        assert {record.request_id for record in bus.published} == {"a"}

    async def test_a_stop_answers_nothing_so_that_the_ask_stays(
        self, room: Room, bus: MemoryBus
    ) -> None:
        asked = room.ask("a")
        await room.pending("a")
        asked.task.cancel()  # type: ignore[attr-defined]
        await asyncio.gather(asked.task, return_exceptions=True)  # type: ignore[attr-defined]
        await room.pending("a")
        assert (asked.replies, bus.published) == ([], [])

    async def test_what_nobody_comes_back_for_is_withdrawn(
        self, make_room: Callable[[], Room]
    ) -> None:
        first = make_room()
        first.ask("gone")
        first.ask("back")
        await first.pending("gone", "back")
        second = make_room()
        await second.server.load()
        second.ask("back")
        await second.server.withdraw_orphans(after=0.01)
        await second.pending("back")
