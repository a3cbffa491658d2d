"""The sums as one gateway knows them: what Redis answered, and what Redis has not heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.metering.shared_sums import KEPT_SECONDS, REPEATED_SECONDS, SharedSums
from shared.accounts.token_limits import SpentSums
from shared.runtime.errors import BusUnavailable
from tests.support.operations import operations_of_awaited

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


async def test_a_request_costs_no_more_beside_many_sums_and_recent_additions() -> None:
    async def filled(count: int) -> SharedSums:
        sums, bus, _ = opened()
        bus.sums = [[b"5", b"10", b"1"]]
        for number in range(count):
            sums.add(f"r{number}", ONE, {f"spent:{number}:day": 1e9})
        await sums.send()
        sums.forget_old()
        return sums

    async def one_more(sums: SharedSums) -> None:
        sums.add("new", ONE, {"spent:a:day": 1e9})
        await sums.send()
        assert not sums.unsent
        assert not sums.forget_old()

    few, many = await filled(5), await filled(500)
    assert await operations_of_awaited(lambda: one_more(many)) == await operations_of_awaited(
        lambda: one_more(few)
    )


async def test_additions_that_come_while_one_is_sent_are_sent_once_each() -> None:
    sums, bus, _ = opened()
    bus.sums = [[b"5", b"10", b"1"]]
    run_script = bus.run_script

    async def add_meanwhile(*arguments: Any) -> Any:
        if len(bus.marks) < 3:
            sums.add(f"r{len(bus.marks) + 2}", ONE, DAY)
        return await run_script(*arguments)

    bus.run_script = add_meanwhile  # type: ignore[method-assign]
    sums.add("r1", ONE, DAY)
    await sums.send()
    assert bus.marks == ["counted:r1"]
    while sums.unsent:
        await sums.send()
    assert bus.marks == ["counted:r1", "counted:r2", "counted:r3", "counted:r4"]
    assert sums.sum("spent:a:day").requests == 1  # as Redis answered; no addition is left over


async def test_a_new_run_of_redis_while_an_addition_is_sent_repeats_those_before_it() -> None:
    sums, bus, _ = opened()
    bus.sums = [[b"5", b"10", b"1"]]
    sums.add("r1", ONE, DAY)
    await sums.send()
    bus.run = b"second"
    sums.add("r2", ONE, DAY)
    await sums.send()
    assert sums.unsent == 2
    await sums.send()
    assert bus.marks[:2] == ["counted:r1", "counted:r2"]
    assert sorted(bus.marks[2:]) == ["counted:r1", "counted:r2"]
    assert sums.unsent == 0


async def test_an_addition_that_redis_did_not_take_is_sent_by_the_next_call() -> None:
    sums, bus, _ = opened()
    bus.sums = [[b"5", b"10", b"1"]]
    run_script = bus.run_script

    async def away(*_: Any) -> Any:
        raise BusUnavailable

    bus.run_script = away  # type: ignore[method-assign]
    sums.add("r1", ONE, DAY)
    with pytest.raises(BusUnavailable):
        await sums.send()
    assert sums.unsent == 1
    bus.run_script = run_script  # type: ignore[method-assign]
    await sums.send()
    assert (sums.unsent, bus.marks) == (0, ["counted:r1"])
