"""Counted instructions are compared with their limits, in yardsticks."""

from __future__ import annotations

from benchmarks.instructions import TOLERANCE, counts_table, excesses, in_yardsticks


def test_counts_are_told_as_multiples_of_the_yardstick() -> None:
    assert in_yardsticks({"yardstick": 200, "relay": 50}) == {"relay": 0.25}


def test_a_piece_within_the_tolerance_is_no_excess() -> None:
    assert excesses({"relay": 0.25 * TOLERANCE}, {"relay": 0.25}) == []


def test_a_piece_beyond_the_tolerance_is_told_with_its_share_of_the_limit() -> None:
    [told] = excesses({"relay": 0.5, "tap": 1.0}, {"relay": 0.25, "tap": 1.0})
    assert told == "relay: 0.5 yardsticks, 2.00 of the limit"


def test_a_piece_without_a_limit_is_told() -> None:
    [told] = excesses({"new": 0.5}, {"relay": 0.25})
    assert "no limit" in told


def test_the_table_has_a_row_for_each_piece_and_the_yardstick() -> None:
    shown = counts_table({"yardstick": 2_000_000, "relay": 500_000}, {"relay": 0.3})
    assert list(shown.rows) == [
        ["yardstick", "2,000", "1.000", "1.000"],
        ["relay", "500", "0.250", "0.300"],
    ]
