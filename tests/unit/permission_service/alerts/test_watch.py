"""The watch decides on the whole state at each look, and on reports of limits also through an
absence of Redis.
"""

from __future__ import annotations

import asyncio

import pytest

from permission_service.alerts.providers import ProviderOutcomes
from permission_service.alerts.watch import AlertPolicy, AlertWatch
from shared.accounts.login import LoginFacts
from shared.accounts.quota import Quota, Window
from shared.accounts.used_up import UsedUpWindow, UsedUpWindows
from shared.bus.alerts import LimitReport
from shared.bus.channels import encode_payload
from tests.unit.permission_service.conftest import Asked, MemoryBus, Room

HOUR = 3600.0


class MemorySources:
    """The state of a stack, as a test sets it."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.used = 0.0
        self.renewal = "ours"
        self.found: list[ProviderOutcomes] | None = []
        self.looks = 0
        self.key_paid_at = 0.0

    async def quotas(self) -> list[Quota]:
        return [Quota("claude", self.now, [Window("5h", self.used, 5 * HOUR, self.now + HOUR)])]

    async def key_windows(self) -> list[UsedUpWindows]:
        window = UsedUpWindow(self.now + HOUR, "5h", key_paid_at=self.key_paid_at)
        return [UsedUpWindows("claude", 5.0, [window])]

    async def logins(self) -> list[LoginFacts]:
        return [LoginFacts("codex", self.renewal, self.now + HOUR)]  # type: ignore[arg-type]

    async def outcomes(self) -> list[ProviderOutcomes] | None:
        self.looks += 1
        return self.found


@pytest.fixture
def sources(room: Room) -> MemorySources:
    return MemorySources(room.clock())


def watch_of(room: Room, sources: MemorySources, **policy: float) -> AlertWatch:
    return AlertWatch(room.alerts, sources, AlertPolicy(**policy), room.clock, retry_seconds=0.0)


def kinds(room: Room) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["level"]) for alert in room.alerts.show()]


async def test_one_look_decides_on_quotas_logins_and_providers(
    room: Room, sources: MemorySources
) -> None:
    watch = watch_of(room, sources)
    await watch.look()
    assert kinds(room) == []
    sources.used, sources.renewal = 0.9, "refused"
    sources.found = [ProviderOutcomes("codex", 5, 5, "fail", "upstream", sources.now)]
    await watch.look()
    await watch.look()
    assert kinds(room) == [("quota", "near"), ("login", "refused"), ("provider", "failing")]


async def test_a_look_decides_on_a_key_that_pays(room: Room, sources: MemorySources) -> None:
    watch = watch_of(room, sources)
    await watch.look()
    assert kinds(room) == []
    sources.key_paid_at = sources.now
    await watch.look()
    await watch.look()
    assert kinds(room) == [("billing", "pays")]


async def test_the_owners_percent_is_the_one_that_counts(
    room: Room, sources: MemorySources
) -> None:
    sources.used = 0.9
    await watch_of(room, sources, limit=0.95).look()
    assert kinds(room) == []
    await watch_of(room, sources, limit=0.5).look()
    assert kinds(room) == [("quota", "near")]


async def test_a_provider_is_left_as_it_is_while_analytics_is_away(
    room: Room, sources: MemorySources
) -> None:
    watch = watch_of(room, sources)
    sources.found = [ProviderOutcomes("codex", 5, 5, "fail", "upstream", sources.now)]
    await watch.look()
    await watch.look()
    failing, sources.found = sources.found, None
    await watch.look()
    sources.found = failing
    await watch.look()
    assert kinds(room) == [("provider", "failing")]


async def test_nothing_alerts_before_the_stack_has_had_time_to_start(
    room: Room, sources: MemorySources
) -> None:
    sources.used = 1.0
    patient = room.start(watch_of(room, sources, first_seconds=3600.0).run())
    hasty = room.start(watch_of(room, sources, first_seconds=0.0, look_seconds=0.0).run())
    async with asyncio.timeout(5):
        while sources.looks < 3:  # noqa: ASYNC110 - the loop has nothing to wait on
            await asyncio.sleep(0)
    assert kinds(room) == [("quota", "gone")]
    assert not patient.done()
    assert not hasty.done()


async def test_the_loop_goes_on_when_redis_comes_back(
    room: Room, sources: MemorySources, bus: MemoryBus
) -> None:
    sources.used, bus.down = 1.0, True
    room.start(watch_of(room, sources, first_seconds=0.0, look_seconds=0.0).run())
    async with asyncio.timeout(5):
        while sources.looks < 3:  # noqa: ASYNC110 - the loop has nothing to wait on
            await asyncio.sleep(0)
        assert kinds(room) == []
        bus.down = False
        while not kinds(room):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_the_report_of_a_limit_is_decided_once_however_often_it_comes(
    room: Room, sources: MemorySources, bus: MemoryBus
) -> None:
    watch = watch_of(room, sources)
    use = LimitReport("ci", "$5 a day", 0.8, room.clock() + HOUR)
    bus.down = True
    taking = room.start(watch.take(Asked(encode_payload(use))))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not taking.done()
    bus.down = False
    await taking
    await watch.take(Asked(encode_payload(use)))  # type: ignore[arg-type]
    assert kinds(room) == [("budget", "near")]


async def test_a_report_that_cannot_be_read_is_left_aside(
    room: Room, sources: MemorySources
) -> None:
    await watch_of(room, sources).take(Asked(b'{"token": 1}'))  # type: ignore[arg-type]
    assert kinds(room) == []
