"""Growth: its exponent, and the mark of what grows faster than it must."""

from __future__ import annotations

import pytest

from benchmarks.curves import CONSTANT, LINEAR, Curve, Growth, in_turn


def test_the_exponent_of_a_constant_cost_is_zero_and_of_a_linear_one_is_one():
    assert Curve("a", CONSTANT, {1: 5, 10: 5, 100: 5}).exponent == pytest.approx(0)
    assert Curve("a", LINEAR, {1: 5, 10: 50, 100: 500}).exponent == pytest.approx(1)


def test_growth_that_a_fixed_cost_hides_at_small_sizes_is_found():
    hidden = {size: 100 + size for size in (1, 10, 100, 1000, 10_000)}
    assert Curve("a", CONSTANT, hidden).grows_too_fast


def test_logarithmic_growth_is_no_growth_too_fast():
    assert not Curve("a", CONSTANT, {10: 1, 100: 2, 1000: 3, 10_000: 4}).grows_too_fast


def test_quadratic_growth_of_what_must_be_linear_is_too_fast():
    assert Curve("a", LINEAR, {10: 1, 100: 100}).grows_too_fast
    assert not Curve("a", LINEAR, {10: 1, 100: 10}).grows_too_fast


def test_a_cost_below_the_clock_is_no_growth():
    assert Curve("a", CONSTANT, {1: 0, 10: 0}).exponent == 0
    assert Curve("a", CONSTANT, {1: 0, 10: 2, 100: 0}).exponent == 0


def test_the_table_marks_what_grows_too_fast():
    curves = [
        Curve("good", LINEAR, {10: 1, 100: 10}, "in the answer"),
        Curve("bad", CONSTANT, {10: 1, 100: 10}),
    ]
    growth = Growth("Title", "things", "ms", curves)
    assert growth.table().rows == [
        ["good", "1", "10", "linear in the answer", "1.00"],
        ["bad", "1", "10", "constant", "**1.00, too fast**"],
    ]
    assert growth.table().head == [
        "ms, by number of things", "10", "100", "must grow", "exponent",
    ]  # fmt: skip


def test_the_chart_of_a_growth_has_a_line_for_each_operation():
    alt, svg = Growth(
        "Title", "things", "ms", [Curve("an operation", LINEAR, {1: 1, 10: 9})]
    ).chart()
    assert alt == "Title: ms over the number of things"
    assert "an operation: 1 at 1, 9 at 10" in svg


async def test_sizes_are_measured_in_turn_and_the_median_is_told():
    order: list[int] = []

    def measure(size: int, values: list[float]):
        async def one() -> float:
            order.append(size)
            return values.pop(0)

        return one

    found = await in_turn({1: measure(1, [3, 1, 2]), 10: measure(10, [9, 90, 8])}, rounds=3)
    assert order == [1, 10] * 3
    assert found == {1: 2, 10: 9}
