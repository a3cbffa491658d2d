from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.waiting.waiting_list import SHARE_SECONDS, WaitingEntry, WaitingList
from shared.runtime.errors import BusUnavailable
from tests.support.fake_clock import FakeClock, settle


class KeyBus:
    """The keys of Redis, in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.is_away = False
        self.writes = 0

    def _check(self) -> None:
        if self.is_away:
            raise BusUnavailable

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self._check()
        self.writes += 1
        self.keys[key] = value

    async def delete(self, key: str) -> None:
        self._check()
        self.keys.pop(key, None)

    async def scan(self, prefix: str) -> dict[str, bytes]:
        self._check()
        return {key: value for key, value in self.keys.items() if key.startswith(prefix)}


def waiting(name: str, since: float) -> WaitingEntry:
    return WaitingEntry(
        name, "claude", "claude-x", "", "", "", "ordinary", since, "reset", "the window", 9.0
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bus() -> KeyBus:
    return KeyBus()


@pytest.fixture
async def lists(bus: Any, clock: FakeClock) -> AsyncIterator[tuple[WaitingList, WaitingList]]:
    async with WaitingList(bus, clock) as first, WaitingList(bus, clock) as second:
        yield first, second


async def test_a_gateway_shows_the_waiting_requests_of_all_gateways_the_oldest_first(
    lists: tuple[WaitingList, WaitingList], clock: FakeClock
) -> None:
    first, second = lists
    with first.shown(waiting("later", 2.0)), second.shown(waiting("earlier", 1.0)):
        await settle()
        assert [each.request_id for each in await first.all()] == ["earlier", "later"]
        assert [each.request_id for each in await second.all()] == ["earlier", "later"]
    await clock.advance(SHARE_SECONDS)
    assert await first.all() == []


async def test_a_gateway_in_which_nobody_waits_writes_nothing(
    lists: tuple[WaitingList, WaitingList], bus: KeyBus, clock: FakeClock
) -> None:
    first, _ = lists
    with first.shown(waiting("one", 1.0)):
        await clock.advance(3 * SHARE_SECONDS)
        assert bus.writes == 4
    await clock.advance(10 * SHARE_SECONDS)
    assert (bus.writes, bus.keys) == (4, {})


async def test_without_redis_a_gateway_shows_its_own_list_and_shares_it_later(
    lists: tuple[WaitingList, WaitingList], bus: KeyBus, clock: FakeClock
) -> None:
    first, second = lists
    bus.is_away = True
    with first.shown(waiting("one", 1.0)):
        await settle()
        assert [each.request_id for each in await first.all()] == ["one"]
        assert await second.all() == []
        bus.is_away = False
        await clock.advance(SHARE_SECONDS)
        assert [each.request_id for each in await second.all()] == ["one"]


async def test_a_gateway_that_ends_takes_its_list_along(bus: Any, clock: FakeClock) -> None:
    async with WaitingList(bus, clock) as closing:
        with closing.shown(waiting("one", 1.0)):
            await settle()
            assert len(bus.keys) == 1
    assert bus.keys == {}


async def test_a_list_of_another_version_is_left_out(
    lists: tuple[WaitingList, WaitingList], bus: KeyBus
) -> None:
    bus.keys["waiting:other"] = b'[{"unlike": 1}]'
    assert await lists[0].all() == []
