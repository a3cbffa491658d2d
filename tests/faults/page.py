"""The page docs/reliability.md: prose by hand, and between marks the tables that `make faults` and
`make soak` write, each with its day, version and machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import circumstances, load_average
from docs.markup import replace_part, table
from tests.faults.cells import Table
from tests.faults.memory import late_growth

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
FAULTS = ("<!-- written by make faults -->", "<!-- end of what make faults writes -->")
SOAK = ("<!-- written by make soak -->", "<!-- end of what make soak writes -->")
FAULTS_HEAD = "what happened | how often | what clients saw | records lost | whole again after"
SOAK_HEAD = "process | first (MB) | middle (MB) | last (MB) | second half (MB)"


def write_faults(faults: Table, begun: str) -> None:
    """Put the table of this run in the place of the one before; `begun` is the load of the machine
    at its begin.
    """
    lines = table(FAULTS_HEAD, [row.cells() for row in faults.rows])
    write_between(FAULTS, f"{circumstances({}, begun, load_average())}\n\n{lines}")


def write_soak(told: str, memory: Mapping[str, Sequence[float]], begun: str) -> None:
    """Put the memory of each process, a series of megabytes, in the place of the run before; `told`
    says what was asked and answered.
    """
    lines = table(SOAK_HEAD, soak_rows(memory), numbers=True)
    write_between(SOAK, f"{circumstances({}, begun, load_average())}\n\n{told}\n\n{lines}")


def soak_rows(memory: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Return a row for each process, with the growth in the second half."""
    return [
        [
            f"`{name}`",
            f"{found[0]:.0f}",
            f"{found[len(found) // 2]:.0f}",
            f"{found[-1]:.0f}",
            f"{late_growth(found):+.1f}",
        ]
        for name, found in sorted(memory.items())
    ]


def write_between(marks: tuple[str, str], part: str) -> None:
    begin, end = marks
    PAGE.write_text(replace_part(PAGE.read_text(), begin, end, f"\n\n{part}\n\n"))
