"""Growth of analytics with its records: the CPU of the dashboard's questions, and the bytes of the
file.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks.analytics import DAYS, query
from benchmarks.curves import CONSTANT, LINEAR, Curve, Growth

# The questions of benchmarks/analytics.py by what they must read: sums of hours, or the newest
# records, or every record of the span.
CONSTANT_QUESTIONS = (
    "sums of everything",
    "everything in steps",
    "models of everything",
    "the last fifty",
    "how the last sixty of each provider ended",
)
LINEAR_QUESTIONS = (
    "sums of a day",
    "models of a day",
    "sessions of a day",
    "sums of one caller",
    "programs of everything",
    "everything by free text",
    "sessions of everything",
)


def records(sizes: list[int]) -> list[Growth]:
    """Return the cost of the questions, and the bytes of a record."""
    questions: dict[str, dict[int, float]] = {}
    bytes_each: dict[int, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="ccgrowth") as made:
            folder = Path(made)
            for name, _, cpu in asyncio.run(query(folder, size)):
                questions.setdefault(name, {})[size] = cpu
            bytes_each[size] = sum(each.stat().st_size for each in folder.iterdir()) / size
    curves = [Curve(name, CONSTANT, questions[name]) for name in CONSTANT_QUESTIONS]
    curves += [Curve(name, LINEAR, questions[name]) for name in LINEAR_QUESTIONS]
    return [
        Growth(
            "Questions of the dashboard",
            "records",
            "CPU-ms",
            curves,
            f"Records of {DAYS} days, whatever their number.",
        ),
        Growth(
            "Size of the file", "records", "bytes each", [Curve("a record", CONSTANT, bytes_each)]
        ),
    ]
