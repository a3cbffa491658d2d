"""The worst faults on a real stack under load, quick enough for every day; `make faults` has the
others.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.faults.load import Load, asked, recorded, running
from tests.support.stack import Stack, simulated, stacks, until

pytestmark = pytest.mark.timeout(120)  # a real stack, a busy machine


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Stack]:
    """A stack of two gateways that several faults share."""
    settings = simulated(simulator_url) | {"SERVER__WORKERS": "2", "SDK__POOL_SIZE": "0"}
    for start in stacks(find_script("ccproxy"), _homes, settings):
        yield start().wait_ready()


@pytest.mark.long
async def test_a_rolling_restart_of_the_gateways_fails_no_request(stack: Stack) -> None:
    load = Load(stack.url)
    async with running(load) as seen:
        await asked(seen, 50)
        for old in stack.supervised("gateway"):
            os.kill(old, signal.SIGTERM)
            await asyncio.to_thread(
                until, lambda old=old: old not in stack.supervised("gateway"), "the end of one"
            )
            await asyncio.to_thread(
                until, lambda: len(stack.supervised("gateway")) == 2, "another gateway"
            )
            await asked(seen, 50)
    assert seen.counts.keys() == {"ok"}, (seen.sentence(), seen.words)
    assert await recorded(stack.url, seen) == (0, 0)
