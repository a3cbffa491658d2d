"""The daily limit of an API key, with Redis, and while Redis is away."""

from __future__ import annotations

from typing import Any

from gateway.metering.key_budget import KeyBudget
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable

NOW = 1_795_953_600.0  # 2026-11-29 12:00 UTC
DAY = 86_400.0


class SumBus:
    """A bus whose Redis answers each script with `sums` (millionths of a dollar by key) and takes
    nothing.
    """

    def __init__(self) -> None:
        self.connected = True
        self.sums: dict[str, int] = {}

    async def run_script(self, script: str, keys: list[str], *arguments: Any) -> list[Any]:
        if not self.connected:
            raise BusUnavailable
        if arguments:
            for key in keys[1:]:
                self.sums[key] = self.sums.get(key, 0) + int(arguments[1])
            keys = keys[1:]
        return [b"run", *([self.sums.get(key, 0), 0, 0] for key in keys)]


class Budget:
    """A gateway whose every request costs a dollar, of `gateways` that share a limit."""

    def __init__(self, bus: SumBus, limit: float = 4.0, gateways: int = 1) -> None:
        self.now = NOW
        shared: Any = bus
        limits = {"claude": limit, "codex": limit}
        self.budget = KeyBudget(shared, lambda _: 1.0, limits, gateways, lambda: self.now)
        self.begun = 0

    async def run(self, provider: str = "claude") -> bool:
        """Run one request if the key may pay for it; return True if it may."""
        if not await self.budget.admits(provider):
            return False
        self.begun += 1
        name = f"req_{id(self)}_{self.begun}"
        self.budget.count(AccessRecord(name, NOW, "POST", "/", provider=provider))
        return True


async def test_the_key_pays_until_its_limit_and_again_on_the_next_day() -> None:
    kept = Budget(SumBus())
    assert [await kept.run() for _ in range(6)] == [True] * 4 + [False] * 2
    assert (kept.budget.use("claude").spent_usd, kept.budget.use("claude").usd_per_day) == (4, 4)
    kept.now += DAY
    assert await kept.run()


async def test_each_provider_has_a_limit_of_its_own() -> None:
    kept = Budget(SumBus(), limit=1.0)
    assert [await kept.run(), await kept.run(), await kept.run("codex")] == [True, False, True]


async def test_two_gateways_keep_one_limit() -> None:
    bus = SumBus()
    first, second = Budget(bus), Budget(bus)
    for _ in range(2):
        assert await first.run()
        assert await second.run()
        await first.budget.send()
        await second.budget.send()
    assert [await first.run(), await second.run()] == [False, False]
    assert first.budget.use("claude") == second.budget.use("claude")


async def test_without_redis_each_gateway_spends_its_share_of_what_was_left() -> None:
    bus = SumBus()
    first, second = Budget(bus, 5.0, gateways=2), Budget(bus, 5.0, gateways=2)
    assert await first.run()
    await first.budget.send()
    await second.budget.send()
    bus.connected = False
    spent = [sum([await kept.run() for _ in range(9)]) for kept in (first, second)]
    assert spent == [2, 2]
    bus.connected = True
    await first.budget.send()
    await second.budget.send()
    await first.budget.send()
    assert first.budget.use("claude").spent_usd == second.budget.use("claude").spent_usd == 5


async def test_a_gateway_that_never_heard_the_sum_of_today_lets_the_key_pay_nothing() -> None:
    bus = SumBus()
    bus.connected = False
    kept = Budget(bus)
    assert not await kept.run()
    bus.connected = True
    assert await kept.run()
    # The next day begins while Redis is away: nobody knows what others have spent in it.
    bus.connected = False
    kept.now += DAY
    assert not await kept.run()


async def test_a_failure_of_the_read_counts_as_redis_being_away() -> None:
    class FailingBus(SumBus):
        async def run_script(self, script: str, keys: list[str], *arguments: Any) -> list[Any]:
            raise BusUnavailable

    assert not await Budget(FailingBus()).run()
