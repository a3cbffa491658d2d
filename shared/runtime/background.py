"""The end of a task that works in the background while its owner is open."""

from __future__ import annotations

import asyncio
import contextlib


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancel `task`, if given, and return after the end of the task. Raises the error of a failed
    task.
    """
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
