from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.waiting.priorities import Priority
from gateway.waiting.reset_rooms import MARGIN_SECONDS, SPREAD_SECONDS, LimitReset, ResetRooms
from tests.support.fake_clock import FakeClock, settle

HOUR = 3600.0


class Going:
    """The rooms of a gateway, and the names of the requests that went, with their times."""

    def __init__(self, rooms: ResetRooms, clock: FakeClock) -> None:
        self.rooms = rooms
        self.clock = clock
        self.went: list[tuple[str, float]] = []
        self.began = clock.now()

    async def come(
        self,
        name: str,
        after: float = HOUR,
        priority: Priority = Priority.ORDINARY,
        limit: str = "the 5-hour window",
        *,
        is_direct: bool = True,
    ) -> asyncio.Task[None]:
        reset = LimitReset(limit, self.began + after)

        async def hold() -> None:
            await self.rooms.wait(reset, priority, is_direct=is_direct)
            self.went.append((name, self.clock.now() - self.began))

        task = asyncio.create_task(hold())
        await settle()
        return task

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.went]


@pytest.fixture
async def going() -> AsyncIterator[Going]:
    clock = FakeClock()
    async with ResetRooms(clock, chance=lambda: 0.0) as rooms:
        yield Going(rooms, clock)


async def test_a_held_request_goes_after_the_reset_and_not_before(going: Going) -> None:
    await going.come("only")
    await going.clock.advance(HOUR)
    assert going.went == []
    await going.clock.advance(MARGIN_SECONDS)
    assert going.went == [("only", HOUR + MARGIN_SECONDS)]


async def test_held_requests_go_one_by_one_sdk_first_then_by_priority_and_arrival(
    going: Going,
) -> None:
    await going.come("background", priority=Priority.BACKGROUND)
    await going.come("first")
    await going.come("second")
    await going.come("person", priority=Priority.PERSON)
    await going.come("sdk", is_direct=False)
    await going.clock.advance(HOUR + 60)
    assert going.names == ["sdk", "person", "first", "second", "background"]
    times = [at for _, at in going.went]
    assert times == [HOUR + MARGIN_SECONDS + place * SPREAD_SECONDS for place in range(5)]


async def test_a_limit_that_was_not_reset_keeps_the_rest_until_its_new_reset(going: Going) -> None:
    for name in ("first", "second", "third"):
        await going.come(name)
    await going.clock.advance(HOUR + MARGIN_SECONDS)
    assert going.names == ["first"]
    # The first one was refused again, with a later reset.
    await going.come("first again", after=2 * HOUR)
    await going.clock.advance(HOUR / 2)
    assert going.names == ["first"]
    await going.clock.advance(HOUR)
    assert going.names == ["first", "second", "third", "first again"]


async def test_limits_are_waited_for_apart(going: Going) -> None:
    await going.come("week", after=100 * HOUR, limit="the 7-day window")
    await going.come("hours")
    await going.clock.advance(HOUR + 60)
    assert going.names == ["hours"]


async def test_a_request_that_was_ended_never_goes_and_takes_no_time(going: Going) -> None:
    gone = await going.come("gone")
    await going.come("stays")
    gone.cancel()
    await going.clock.advance(HOUR + MARGIN_SECONDS)
    assert going.went == [("stays", HOUR + MARGIN_SECONDS)]


async def test_gateways_begin_at_different_moments() -> None:
    clock = FakeClock()
    async with ResetRooms(clock, chance=lambda: 1.0) as rooms:
        going = Going(rooms, clock)
        await going.come("only")
        await clock.advance(HOUR + 60)
    assert going.went == [("only", HOUR + MARGIN_SECONDS + SPREAD_SECONDS)]


async def test_a_clock_that_jumps_over_the_reset_lets_the_request_go_at_the_next_look(
    going: Going,
) -> None:
    await going.come("only")
    going.clock.time += 2 * HOUR  # the machine slept
    await going.clock.advance(0.0)
    assert going.names == ["only"]
