"""What every service process does besides its work."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from shared.process import collect_by_the_clock


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
