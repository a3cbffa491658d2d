"""Faults that end a stack: what its clients see, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.cells import ASKED_BEFORE, Table, database
from tests.faults.load import Load, asked, recorded, running, until_whole
from tests.support.stack import Stack, alive, until

pytestmark = [pytest.mark.claude, pytest.mark.timeout(240)]

Start = Callable[..., Stack]

GONE_SECONDS = 10.0  # an orphan ends in order, and in seconds


def start_whole(start_stack: Start, **settings: str) -> Stack:
    return start_stack(SERVER__WORKERS="2", **settings).wait_ready()


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["supervisord is killed", pytest.param("the launcher is killed", marks=pytest.mark.faults)],
)
async def test_nothing_outlives_what_started_it(
    start_stack: Start, table: Table, name: str
) -> None:
    """Turns are at work, so `claude` processes are among what must go."""
    stack = await asyncio.to_thread(start_whole, start_stack)
    load = Load(stack.url, agent=True)
    async with running(load) as seen:
        await asked(seen, ASKED_BEFORE)
        await until_whole(stack.url, agent=True)
        belonging = stack.processes()
        assert any("claude" in process.name() for process in belonging), "a `claude` is at work"
        killed = psutil.Process(stack.process.pid)
        if name == "supervisord is killed":
            [killed] = [
                process
                for process in belonging
                if "ccproxy.launcher.supervision" in process.cmdline()
            ]
        began = time.monotonic()
        killed.kill()
        load.end()
        await asyncio.to_thread(
            until, lambda: not alive(belonging), "the end of every process", GONE_SECONDS
        )
        gone = time.monotonic() - began
    assert seen.counts["wrong"] == 0
    code = await asyncio.to_thread(stack.process.wait, 30)
    assert code == (70 if name == "supervisord is killed" else -signal.SIGKILL)
    table.add(name, seen.sentence(), "nothing", f"all gone in {gone:.1f} s")


@pytest.mark.long
@pytest.mark.faults
async def test_clients_of_a_stack_that_stops_are_told_or_refused_and_none_hangs(
    start_stack: Start, table: Table
) -> None:
    stack = await asyncio.to_thread(start_whole, start_stack)
    load = Load(stack.url, agent=True)
    async with running(load) as seen:
        await asked(seen, ASKED_BEFORE)
        stack.process.terminate()
        load.end()
        began = time.monotonic()
    last = time.monotonic() - began
    assert seen.counts["wrong"] == 0
    assert last < GONE_SECONDS, "every client has its outcome"
    assert await asyncio.to_thread(stack.stop) == 0
    table.add(
        "the stack is stopped (SIGTERM)",
        seen.sentence(),
        "nothing",
        f"last client told after {last:.1f} s",
    )


@pytest.mark.long
@pytest.mark.faults
async def test_a_real_stack_without_its_run_directory_starts_again(
    start_stack: Start, table: Table
) -> None:
    stack = await asyncio.to_thread(start_whole, start_stack, SERVER__STATE_DIR="state")
    url = stack.url
    async with running(Load(url)) as seen:
        await asked(seen, ASKED_BEFORE)
        await asyncio.to_thread(shutil.rmtree, stack.run_dir)
        await asyncio.to_thread(
            until, lambda: "starts again in a new one" in stack.logs, "the sentence"
        )
        began = time.monotonic()
        await until_whole(url, agent=True)
        whole = time.monotonic() - began
        await asked(seen, ASKED_BEFORE)
    assert seen.counts["wrong"] == 0
    missing, doubled = await recorded(url, seen)
    assert (missing, doubled) == (0, 0)
    table.add("the run directory is removed", seen.sentence(), "nothing", f"{whole:.1f} s")


@pytest.mark.long
@pytest.mark.faults
async def test_a_database_that_is_removed_loses_no_later_record(
    start_stack: Start, table: Table
) -> None:
    stack = await asyncio.to_thread(start_whole, start_stack)
    async with running(Load(stack.url)) as before:
        await asked(before, ASKED_BEFORE)
    assert await recorded(stack.url, before) == (0, 0)
    database(stack).unlink()
    async with running(Load(stack.url)) as seen:
        await asked(seen, ASKED_BEFORE)
    assert seen.counts.keys() == {"ok"}, (seen.sentence(), seen.words)
    assert await recorded(stack.url, seen) == (0, 0)
    assert "removed or replaced while it was open" in stack.logs
    table.add("the DuckDB file is removed", seen.sentence(), "the records in the removed file")
