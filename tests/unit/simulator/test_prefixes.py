"""Prefixes are kept for a lifetime from their last use, and only so many of them."""

from __future__ import annotations

from simulator.clock import SimulatedClock
from simulator.prefixes import KeptPrefixes


def test_a_prefix_lives_from_its_last_use() -> None:
    clock = SimulatedClock()
    kept = KeptPrefixes(10, clock)
    kept.keep(b"one", 60)
    clock.forward(50)
    assert b"one" in kept
    kept.use([b"one"])
    clock.forward(50)
    assert b"one" in kept
    clock.forward(50)
    assert b"one" not in kept


def test_the_longest_unused_prefix_makes_room() -> None:
    kept = KeptPrefixes(2)
    for prefix in (b"one", b"two"):
        kept.keep(prefix, 60)
    kept.use([b"one"])
    kept.keep(b"three", 60)
    assert [prefix in kept for prefix in (b"one", b"two", b"three")] == [True, False, True]
