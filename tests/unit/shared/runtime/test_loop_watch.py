"""A loop that hangs ends its process, and says where it hung; a loop that runs is left alone."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.runtime.alive_file import HEARTBEAT_SOCKET
from shared.runtime.loop_watch import HUNG_EXIT, LoopWatch, watched_loop

PROGRAM = """
import asyncio, time
from shared.runtime.loop_watch import LoopWatch, watched_loop

def hang_here():
    {hang}

async def main():
    async with watched_loop(LoopWatch(beat_seconds=0.02, silent_looks=10)):
        await asyncio.sleep(0.1)
        hang_here()

asyncio.run(main())
"""


@pytest.mark.parametrize("hang", ["time.sleep(600)", "while True: pass"])
def test_a_hung_process_ends_and_says_where_it_hung(hang: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(hang=hang)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == HUNG_EXIT
    assert "hang_here" in ended.stderr


async def test_a_loop_that_runs_is_left_alone() -> None:
    ended: list[str] = []
    watch = LoopWatch(lambda: ended.append("ended"), beat_seconds=0.01, silent_looks=20)
    async with watched_loop(watch):
        await asyncio.sleep(0.5)
    assert ended == []


async def test_each_beat_is_shown_to_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(tmp_path / "beats")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(name)
        monkeypatch.setenv(HEARTBEAT_SOCKET, name)
        async with watched_loop(LoopWatch(beat_seconds=0.01)):
            await asyncio.sleep(0.1)
        assert supervisor.recv(32) == str(os.getpid()).encode()


async def test_a_supervisor_that_is_gone_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEARTBEAT_SOCKET, str(tmp_path / "nobody"))
    async with watched_loop(LoopWatch(beat_seconds=0.01)):
        await asyncio.sleep(0.05)
