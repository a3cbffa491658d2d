"""Many minutes of requests of every kind: no process of a stack grows, and no record is missing
(`make soak`).

`SOAK_MINUTES` is how long (15). The memory of every process is measured each half minute. A process
may grow by 3 MB in the second half, when caches are full: allocators were seen to differ by that
much. Analytics may grow with what it stores: DuckDB keeps facts about each stored piece of a column
in memory until the file is closed, 4 to 6 MB for 100,000 records.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from benchmarks.report import load_average
from ccproxy.launcher.programs import find_script
from tests.faults.load import AGENT, KINDS, MODEL, Load, Seen, asked, running, until_whole
from tests.faults.memory import MEBIBYTE, late_growth, memory_of
from tests.faults.page import write_soak
from tests.support.stack import Stack, simulated, simulators, stacks

MINUTES = float(os.environ.get("SOAK_MINUTES", "15"))
LOOK_SECONDS = 30.0
LEAVE_SECONDS = 0.5  # a client that leaves in mid-stream comes back after this
GROWTH_MEBIBYTES = 3.0
GROWS_WITH_RECORDS = {"analytics": 10.0}  # MB for 100,000 records
RECORDS_SECONDS = 60.0

pytestmark = [pytest.mark.soak, pytest.mark.claude, pytest.mark.timeout(MINUTES * 60 + 600)]


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path]) -> Iterator[Stack]:
    """Two gateways and one SDK worker, before a simulator of their own."""
    for start_simulator in simulators(_homes):
        settings = simulated(start_simulator()) | {"SERVER__WORKERS": "2"}
        for start in stacks(find_script("ccproxy"), _homes, settings):
            yield start().wait_ready()


async def leave_in_mid_stream(url: str) -> None:
    """Leave a stream after its first bytes, again and again, until cancelled."""
    body = {
        "model": MODEL,
        "max_tokens": 99,
        "stream": True,
        "messages": [{"role": "user", "content": "[[scenario:slow-20x40]]"}],
    }
    async with aiohttp.ClientSession(trust_env=False) as http:
        while True:
            async with http.post(f"{url}/api/v1/messages", json=body) as reply:
                await reply.content.readany()
            await asyncio.sleep(LEAVE_SECONDS)


async def counted(url: str, seen: Seen) -> tuple[int, int]:
    """Return the number of records of `seen`, and of the requests that they are about."""
    sql = (
        "SELECT count(*) AS records, count(DISTINCT client_request_id) AS requests FROM requests "
        f"WHERE starts_with(client_request_id, '{seen.prefix}')"
    )
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        http.get(f"{url}/logs/query", params={"sql": sql}) as reply,
    ):
        [row] = (await reply.json())["results"]
    return row["records"], row["requests"]


async def measure(stack: Stack, minutes: float) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return the mebibytes of each process at every look, and the pids. Fails when a process was
    replaced.
    """
    series: dict[str, list[float]] = {}
    pids: dict[str, int] = {}
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        for name, (pid, used) in (await asyncio.to_thread(memory_of, stack)).items():
            assert pids.setdefault(name, pid) == pid, f"{name} was replaced"
            series.setdefault(name, []).append(used / MEBIBYTE)
        await asyncio.sleep(LOOK_SECONDS)
    return series, pids


async def test_no_process_of_a_stack_grows_in_the_second_half_of_a_soak(
    stack: Stack, request: pytest.FixtureRequest
) -> None:
    begun = load_average()
    await until_whole(stack.url, agent=True)
    leaving = asyncio.create_task(leave_in_mid_stream(stack.url))
    async with running(Load(stack.url, clients=len(KINDS), agent=True)) as seen:
        await asked(seen, 1)
        series, _ = await measure(stack, MINUTES)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    growth = {name: late_growth(found) for name, found in series.items()}
    told = f"{MINUTES:g} minutes: {seen.sentence()}, each with one record."
    sys.stdout.write(f"{told}\n")
    for name, found in sorted(series.items()):
        sys.stdout.write(f"{name} {growth[name]:+.1f}: {' '.join(f'{at:.0f}' for at in found)}\n")
    assert seen.counts.keys() == {"ok"}, (seen.sentence(), seen.by_path, seen.words)
    late = time.monotonic() + RECORDS_SECONDS
    while (found_records := await counted(stack.url, seen)) != (
        len(seen.answered),
        len(seen.answered),
    ):
        assert time.monotonic() < late, (found_records, len(seen.answered))
        await asyncio.sleep(1)
    # The second half brought half of the records.
    stored = len(seen.answered) / 2 / 100_000
    grown = {
        name: by
        for name, by in growth.items()
        if by > GROWTH_MEBIBYTES + GROWS_WITH_RECORDS.get(name, 0) * stored
    }
    assert not grown, f"MB grown in the second half: {grown}"
    assert AGENT.path in {path for path, _ in seen.by_path}
    if request.config.getoption("--write-soak-table"):
        write_soak(told, series, begun)
