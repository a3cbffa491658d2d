"""What takes too long for every day, by `make soak`: a thousand requests of every fate, a kill
among thirty streams.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack
from tests.support.turns import (
    ANSWERED,
    at_rest,
    breaks_off,
    client_of,
    is_left,
    is_refused,
    kill_one,
    live_through,
    sdk_stack,
    status,
    takes_too_long,
)

REQUESTS, BATCH, AT_ONCE, STREAMS_EACH = 1000, 100, 64, 10
FIRST_BYTE_SECONDS = (
    20  # for the requests that wait for it in vain; others must begin within it on a busy machine
)
FATES = [
    *ANSWERED,
    is_left,
    *ANSWERED,
    is_refused,
    *ANSWERED,
    breaks_off,
    *ANSWERED,
    takes_too_long,
]
LEAST_GROWTH = 16 * 1024 * 1024  # what an allocator may keep; a leak of 20 kB a request is more

pytestmark = [pytest.mark.soak, pytest.mark.claude, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path]) -> Iterator[Stack]:
    yield from sdk_stack(
        _homes,
        SDK__MAX_TURNS_AT_ONCE=str(STREAMS_EACH),
        SDK__FIRST_BYTE_TIMEOUT_SECONDS=str(FIRST_BYTE_SECONDS),
    )


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(stack) as client:
        await at_rest(client)
        yield client


async def test_a_thousand_requests_leave_nothing_behind(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    workers = [psutil.Process(worker["pid"]) for worker in await status(http)]
    held = []
    for _ in range(REQUESTS // BATCH):
        truth.clear()
        await live_through(stack, http, truth, list(islice(cycle(FATES), BATCH)), at_once=8)
        held.append([(worker.memory_info().rss, worker.num_fds()) for worker in workers])
        sys.stdout.write(f"memory and open files of each worker: {held[-1]}\n")
    for (memory, files), (memory_later, files_later) in zip(held[1], held[-1], strict=True):
        assert memory_later - memory < LEAST_GROWTH
        assert files_later <= files


async def test_sixty_four_at_once_keep_their_secrets(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    await live_through(stack, http, truth, list(islice(cycle(FATES), AT_ONCE)), at_once=AT_ONCE)


async def test_a_worker_killed_among_thirty_streams(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    killed = await kill_one(stack, http, truth, each=STREAMS_EACH)
    sys.stdout.write(str(killed))
    assert killed.told < 3
    assert killed.whole < 20
