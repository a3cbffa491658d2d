"""How the cost of an operation grows with the number of things: measured at several sizes, beside
each other, and compared with the growth that the operation must have.

The exponent is the slope between the two largest sizes, in logarithms: 0 is constant, 1 is ten
times the cost for ten times the things. There a growth shows that a fixed cost hides at small
sizes. All sizes are measured in turn in every round, and the median of the rounds is told.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.charts import line_chart, number_text
from benchmarks.report import Table

ROUNDS = 7
# Logarithmic growth, caches of the processor and a busy machine stay below this.
TOLERANCE = 0.3
CONSTANT, LINEAR = 0.0, 1.0
WORDS = {CONSTANT: "constant", LINEAR: "linear"}


@dataclass(frozen=True)
class Curve:
    """The cost of `operation` at each size; `expected` is the exponent that it must have, `why`
    says what it grows with where that is not the number of the things.
    """

    operation: str
    expected: float
    costs: Mapping[int, float]
    why: str = ""

    @property
    def exponent(self) -> float:
        """Return the slope between the two largest sizes."""
        sizes = sorted(self.costs)
        few, many = sizes[-2], sizes[-1]
        least = min((cost for cost in self.costs.values() if cost > 0), default=1.0)
        ratio = max(self.costs[many], least) / max(self.costs[few], least)
        return math.log(ratio) / math.log(many / few)

    @property
    def grows_too_fast(self) -> bool:
        return self.exponent > self.expected + TOLERANCE


@dataclass(frozen=True)
class Growth:
    """The curves over one kind of things, `things`, in `unit`."""

    title: str
    things: str
    unit: str
    curves: Sequence[Curve]
    note: str = ""

    def table(self) -> Table:
        sizes = sorted(self.curves[0].costs)
        head = [f"{self.unit}, by number of {self.things}", *(f"{size:,}" for size in sizes)]
        rows = [
            [
                curve.operation,
                *(number_text(curve.costs[size]) for size in sizes),
                WORDS[curve.expected] + (f" {curve.why}" if curve.why else ""),
                f"**{curve.exponent:.2f}, too fast**"
                if curve.grows_too_fast
                else f"{curve.exponent:.2f}",
            ]
            for curve in self.curves
        ]
        return Table([*head, "must grow", "exponent"], rows)

    def caption(self) -> str:
        return f"### {self.title}" + (f"\n\n{self.note}" if self.note else "")

    def chart(self) -> tuple[str, str]:
        series = {
            curve.operation.replace("`", ""): sorted(curve.costs.items()) for curve in self.curves
        }
        svg = line_chart(
            self.title, f"number of {self.things}", self.unit, series, log_x=True, log_y=True
        )
        return f"{self.title}: {self.unit} over the number of {self.things}", svg


def cpu_ms(operation: Callable[[], object], calls: int) -> float:
    """Return the milliseconds of CPU of one of `calls` calls."""
    began = time.process_time()
    for _ in range(calls):
        operation()
    return 1000 * (time.process_time() - began) / calls


async def cpu_ms_of(
    operation: Callable[[], Awaitable[object]],
    calls: int,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Return the milliseconds that one of `calls` calls took by `clock`, of CPU seconds."""
    began = clock()
    for _ in range(calls):
        await operation()
    return 1000 * (clock() - began) / calls


async def in_turn(
    measures: Mapping[int, Callable[[], Awaitable[float]]], rounds: int = ROUNDS
) -> dict[int, float]:
    """Return the median of each size's measure, all measured in turn in each round."""
    found: dict[int, list[float]] = {size: [] for size in measures}
    for _ in range(rounds):
        for size, measure in measures.items():
            found[size].append(await measure())
    return {size: statistics.median(values) for size, values in found.items()}
