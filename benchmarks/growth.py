"""Measure how cost grows with what is kept: `make bench BENCH_ARGS="--only growth"`.

The real code on a real Redis and a real DuckDB file. What grows faster than it must is marked.
"""

from __future__ import annotations

import asyncio
import importlib.metadata

import duckdb

from benchmarks.curves import TOLERANCE, Growth
from benchmarks.growth_permissions import requests, rules
from benchmarks.growth_records import records
from benchmarks.growth_redis import memory, sessions, workers
from benchmarks.growth_tokens import tokens
from benchmarks.report import Section

FEW = [10, 100, 1000]
MANY = [*FEW, 10_000]


def run(*, quick: bool) -> Section:
    """Return all curves."""
    sizes = FEW if quick else MANY
    found = [
        asyncio.run(rules(sizes)),
        asyncio.run(requests(sizes)),
        asyncio.run(tokens(sizes)),
        asyncio.run(sessions([100, 1000] if quick else [100, 1000, 10_000, 100_000])),
        asyncio.run(workers([1, 10, 50] if quick else [1, 10, 50, 200])),
        asyncio.run(memory([100, 1000] if quick else [100, 1000, 10_000])),
        *records([100_000, 1_000_000] if quick else [1_000_000, 10_000_000, 30_000_000]),
    ]
    return section_of(found)


def section_of(found: list[Growth]) -> Section:
    return Section(
        "growth",
        "Cost as things grow",
        'make bench BENCH_ARGS="--only growth"',
        TEXT,
        [(each.caption(), each.table()) for each in found],
        [each.chart() for each in found if len(each.curves) > 1],
        {"DuckDB": duckdb.__version__, "redis-py": importlib.metadata.version("redis")},
    )


TEXT = f"""CPU time, median of interleaved rounds. The exponent is the slope between the two largest
sizes: 0 is constant, 1 is ten times the cost for ten times the things. An exponent more than
{TOLERANCE} above what an operation must have is marked."""
