"""Work in the background while its owner is open: a step again and again, and the end of a task."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from shared.runtime.errors import BusUnavailable


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancel `task`, if given, and return after the end of the task. Raises the error of a failed
    task.
    """
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def repeat(step: Callable[[], Awaitable[None]], *, every: float) -> None:
    """Do `step`, and again `every` seconds after its end, until cancelled. A step that found the
    bus away is left to the next one; any other error ends the repetition.
    """
    while True:
        with contextlib.suppress(BusUnavailable):
            await step()
        await asyncio.sleep(every)
