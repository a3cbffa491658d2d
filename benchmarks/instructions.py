"""Count the instructions of each piece of the hot path, and compare them with the limits in
`benchmarks/instructions.json`: `make instructions`.

Valgrind's callgrind counts what the processor would execute, so a busy machine changes nothing. A
count is told in yardsticks (`benchmarks/pieces.py`), which takes most of the difference between
builds of Python out of it. A piece may take TOLERANCE times its limit. `--write` replaces the
limits with what was counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.pieces import opened_pieces
from benchmarks.report import Section, Table

LIMITS = Path(__file__).with_suffix(".json")
TOLERANCE = 1.1
WARM_UP = 12  # requests before counting: Python adapts a function's code to what it meets
COUNTED = 4
YARDSTICK = "yardstick"
NOTHING = "nothing"
SUMMARY = re.compile(r"(?m)^summary: (\d+)$")
# Of another Python the yardstick is too far off: an adaptive interpreter differs by version.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def control(*command: str) -> None:
    """Have callgrind, under which this process runs, obey `command`."""
    subprocess.run(
        ["callgrind_control", *command, str(os.getpid())], check=True, capture_output=True
    )


async def run_pieces(folder: Path) -> None:
    """Run every piece COUNTED times, with a dump of callgrind's counts after each piece, and print
    their names in this order.
    """
    async with opened_pieces(folder) as pieces:
        for piece in pieces.values():
            for _ in range(WARM_UP):
                await piece()
        control("--instr=on")
        for name, piece in {NOTHING: nothing, **pieces}.items():
            await piece()
            control("--zero")
            for _ in range(COUNTED):
                await piece()
            control("--dump")
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
        control("--instr=off")


async def nothing() -> None:
    """Do nothing. What is counted all the same is the counting's own."""


def count() -> dict[str, int]:
    """Return the instructions of each piece. Raises RuntimeError when a piece did not run."""
    with tempfile.TemporaryDirectory(prefix="ccount") as made:
        folder = Path(made)
        command = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder / 'counts'}",
            sys.executable,
            "-m",
            "benchmarks.instructions",
            "--run",
            made,
        ]
        # The order of sets and dictionaries of texts, and the address of every object, are then
        # the same in each run.
        environ = os.environ | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        names = done.stdout.splitlines()
        if done.returncode or not names:
            raise RuntimeError(f"The pieces did not run: {done.stderr[-2000:]}")
        found = {}
        for number, name in enumerate(names, start=1):
            match = SUMMARY.search((folder / f"counts.{number}").read_text())
            assert match is not None
            found[name] = int(match[1]) // COUNTED
        own = found.pop(NOTHING)
        return {name: instructions - own for name, instructions in found.items()}


def in_yardsticks(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the counts of all other pieces as multiples of the yardstick's."""
    return {
        name: round(instructions / counts[YARDSTICK], 3)
        for name, instructions in counts.items()
        if name != YARDSTICK
    }


def excesses(found: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """Return a sentence for each piece that takes more than TOLERANCE times its limit, or that has
    no limit.
    """
    told = []
    for name, taken in found.items():
        if name not in limits:
            told.append(f"{name}: {taken} yardsticks, and no limit")
        elif taken > limits[name] * TOLERANCE:
            told.append(f"{name}: {taken} yardsticks, {taken / limits[name]:.2f} of the limit")
    return told


def limits_of(python: str = PYTHON) -> dict[str, float]:
    """Return the limits for a version of Python, in yardsticks by piece; none for a version that
    was not counted yet.
    """
    all_limits: dict[str, dict[str, float]] = json.loads(LIMITS.read_text())
    return all_limits.get(python, {})


def write_limits(found: Mapping[str, float], python: str = PYTHON) -> None:
    """Make `found` the limits for a version of Python."""
    all_limits = json.loads(LIMITS.read_text()) | {python: found}
    LIMITS.write_text(json.dumps(all_limits, indent=2, sort_keys=True) + "\n")


def counts_table(counts: Mapping[str, int], limits: Mapping[str, float]) -> Table:
    """Return a row for each piece."""
    found = {YARDSTICK: 1.0} | in_yardsticks(counts)
    rows = [
        [name, f"{counts[name] / 1000:,.0f}", f"{taken:.3f}", f"{limits.get(name, 1.0):.3f}"]
        for name, taken in found.items()
    ]
    return Table(("piece", "instructions, thousands", "yardsticks", "limit"), rows)


def run() -> Section:
    """Return the section of the page, with the counts of now."""
    return Section(
        name="instructions",
        title="Instructions of one request",
        command='make bench BENCH_ARGS="--only instructions"',
        text=(
            "What the gateway itself executes for one request, with records, metrics and the "
            "guard on, without uvicorn and aiohttp. Callgrind counts it, so the figures are the "
            "same on a busy machine. A stream has 203 events. The *yardstick* is a fixed amount of "
            f"plain Python. `make instructions` fails when a piece takes more than {TOLERANCE} "
            "times its limit, and so does `make test` where valgrind is installed."
        ),
        tables=[("", counts_table(count(), limits_of()))],
        charts=[],
        versions={},
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="make these counts the limits")
    options.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.run is not None:
        asyncio.run(run_pieces(chosen.run))
        return 0
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed; it counts the instructions.")
    counts = count()
    found = in_yardsticks(counts)
    if chosen.write:
        write_limits(found)
    limits = limits_of()
    print(counts_table(counts, limits).markdown())
    if not limits:
        print(f"There are no limits for Python {PYTHON}.")
        return 0
    for sentence in (told := excesses(found, limits)):
        print(sentence)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
