"""A background task has ended when its owner goes on."""

from __future__ import annotations

import asyncio

import pytest

from shared.runtime.background import end_task, repeat
from shared.runtime.errors import BusUnavailable


async def test_a_task_is_cancelled_and_its_end_awaited() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    task = asyncio.create_task(work())
    await begun.wait()
    await end_task(task)
    assert ended == ["cleaned up"]
    assert task.cancelled()


async def test_an_owner_that_never_began_has_nothing_to_end() -> None:
    await end_task(None)


async def test_the_error_of_a_failed_task_is_not_hidden() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    with pytest.raises(ValueError, match="broken"):
        await end_task(task)


async def test_a_step_is_repeated_although_the_bus_was_away() -> None:
    steps: list[str] = []
    third = asyncio.Event()

    async def step() -> None:
        steps.append("begun")
        if len(steps) == 3:
            third.set()
        raise BusUnavailable

    task = asyncio.create_task(repeat(step, every=0))
    await third.wait()
    await end_task(task)
    assert task.cancelled()


async def test_a_step_with_another_error_is_the_last() -> None:
    async def step() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await repeat(step, every=0)
