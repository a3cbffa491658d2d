"""Wrong tokens are slowed by address, and forgiven with time."""

from __future__ import annotations

import pytest

from gateway.server import attempts
from gateway.server.attempts import Attempts
from shared.runtime.errors import Busy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_few_failures_are_free_and_then_each_costs_its_time() -> None:
    clock = Clock()
    counted = Attempts(3, 10, clock)
    for _ in range(3):
        counted.check("203.0.113.9")
        counted.fail("203.0.113.9")
    with pytest.raises(Busy, match="try again in 11 s") as refused:
        counted.check("203.0.113.9")
    assert refused.value.headers == {"retry-after": "11"}
    clock.now += 10
    counted.check("203.0.113.9")
    counted.fail("203.0.113.9")
    with pytest.raises(Busy):
        counted.check("203.0.113.9")
    clock.now += 40
    for _ in range(3):
        counted.check("203.0.113.9")
        counted.fail("203.0.113.9")


def test_another_address_is_not_slowed_and_a_network_is_one_address() -> None:
    counted = Attempts(1, 10, Clock())
    counted.fail("2001:db8::1")
    counted.check("203.0.113.9")
    with pytest.raises(Busy):
        counted.check("2001:db8::2")


def test_the_oldest_address_is_forgotten_first() -> None:
    counted = Attempts(1, 10, Clock())
    for number in range(attempts.MOST_ADDRESSES + 1):
        counted.fail(f"host-{number}")
    counted.check("host-0")
    with pytest.raises(Busy):
        counted.check("host-1")
