"""The sums as one gateway knows them: what Redis answered, and what Redis has not heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.metering.shared_sums import KEPT_SECONDS, REPEATED_SECONDS, SharedSums
from shared.accounts.token_limits import SpentSums

DAY = {"spent:a:day": 1000.0}
ONE = SpentSums(5, 10, 1)


class ScriptedBus:
    """A bus that answers each script with the run and the sums that a test gives."""

    def __init__(self) -> None:
        self.run = b"first"
        self.sums: list[list[bytes]] = []
        self.marks: list[str] = []

    async def run_script(self, script: str, keys: Sequence[str], *_: Any) -> Any:
        self.marks += [key for key in keys if key.startswith("counted:")]
        wanted = [key for key in keys if key.startswith("spent:")]
        return [self.run, *(self.sums[0] for _ in wanted)]


def opened() -> tuple[SharedSums, ScriptedBus, list[float]]:
    bus: Any = ScriptedBus()
    now = [0.0]
    return SharedSums(bus, lambda: now[0]), bus, now


async def test_an_addition_counts_before_redis_has_heard_it_and_once_afterwards() -> None:
    sums, bus, _ = opened()
    sums.add("r1", ONE, DAY)
    assert sums.sum("spent:a:day") == ONE
    bus.sums = [[b"5", b"10", b"1"]]
    await sums.send()
    assert sums.sum("spent:a:day") == ONE
    assert sums.unsent == 0
    assert bus.marks == ["counted:r1"]


async def test_the_additions_of_the_last_minutes_are_repeated_to_a_new_run_of_redis() -> None:
    sums, bus, _ = opened()
    bus.sums = [[b"5", b"10", b"1"]]
    sums.add("r1", ONE, DAY)
    await sums.send()
    await sums.send()
    assert bus.marks == ["counted:r1"]
    bus.run = b"second"
    await sums.look_at_run()
    assert sums.unsent == 1
    await sums.send()
    assert bus.marks == ["counted:r1"] * 2
    assert sums.sum("spent:a:day") == ONE


async def test_a_sum_that_redis_lost_is_not_believed_to_be_smaller() -> None:
    sums, bus, _ = opened()
    bus.sums = [[b"50", b"100", b"10"]]
    await sums.read(DAY)
    bus.sums = [[b"5", b"10", b"1"]]
    await sums.read(DAY)
    assert sums.sum("spent:a:day") == SpentSums(50, 100, 10)


async def test_an_old_addition_and_an_ended_sum_are_forgotten() -> None:
    sums, bus, now = opened()
    bus.sums = [[b"5", b"10", b"1"]]
    sums.add("r1", ONE, DAY)
    now[0] = REPEATED_SECONDS + 1
    sums.forget_old()
    assert sums.unsent == 1  # not before Redis has heard it
    await sums.send()
    now[0] = 1000.0 + KEPT_SECONDS + 1
    sums.forget_old()
    bus.run = b"second"
    await sums.look_at_run()
    assert sums.unsent == 0
    assert not sums.knows("spent:a:day")
