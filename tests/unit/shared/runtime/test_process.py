"""What every service process does besides its work."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from shared.runtime.process import collect_by_the_clock


class Node:
    """An object that can hold itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector_is_off() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_is_off")
async def test_a_cycle_is_freed_by_the_clock() -> None:
    freed = asyncio.Event()
    node = Node()
    watching = weakref.ref(node, lambda _: freed.set())
    del node
    collecting = asyncio.create_task(collect_by_the_clock(0.001))
    async with asyncio.timeout(10):
        await freed.wait()
    collecting.cancel()
    assert watching() is None


HANGS = """
import subprocess, sys, time
from shared.runtime.process import end_later, kill_own_group
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=sys.stdout)
end_later(0.05, kill_own_group)
time.sleep(600)
"""


def test_a_process_that_does_not_end_is_killed_with_what_it_started() -> None:
    hanging = subprocess.Popen(
        [sys.executable, "-c", HANGS], start_new_session=True, stdout=subprocess.PIPE
    )
    assert hanging.communicate(timeout=60) == (
        b"",
        None,
    )  # the child's end of the pipe is closed as well
    assert hanging.returncode == -signal.SIGKILL
