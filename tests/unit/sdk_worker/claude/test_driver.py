from __future__ import annotations

import asyncio
import contextlib
import os

import psutil
import pytest

from sdk_worker.claude.driver import ProgramFile, drivers, find_program
from shared.runtime.errors import NoWorker


def program_saying(path, says, code=0):
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_successor_is_preferred_to_the_frozen_sdk():
    assert [driver.name for driver in drivers()] == ["claude-agent-sdk", "claude-code-sdk"]


def test_a_configured_program_comes_before_any_other(tmp_path):
    program = program_saying(tmp_path / "mine", "2.1.330 (Claude Code)")
    assert find_program(program) == program
    assert find_program(tmp_path / "none") is None


async def test_a_program_is_asked_its_version_once(tmp_path):
    program = program_saying(tmp_path / "claude", "2.1.330 (Claude Code)")
    file = ProgramFile(program)
    assert await file.path() == program
    assert await file.describe() == {"program": str(program), "version": "2.1.330", "problem": None}


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("1.0.128 (Claude Code)", "needs 2.1.248 or newer"),
        ("hello", "does not look like Claude Code"),
    ],
)
async def test_a_program_that_is_too_old_or_another_is_refused_with_the_remedy(
    tmp_path, says, told
):
    file = ProgramFile(program_saying(tmp_path / "claude", says))
    with pytest.raises(NoWorker, match=told):
        await file.path()


async def test_without_a_program_the_answer_says_how_to_install_it(tmp_path):
    file = ProgramFile(tmp_path / "claude")
    with pytest.raises(NoWorker, match="npm install -g @anthropic-ai/claude-code"):
        await file.path()
    assert "npm install" in (await file.describe())["problem"]
    program_saying(tmp_path / "claude", "2.1.330 (Claude Code)")
    assert (await file.path()).name == "claude"


async def test_a_program_that_vanishes_while_it_is_described_is_a_problem_with_the_remedy(tmp_path):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho '2.1.330 (Claude Code)'\nrm \"$0\"\n")
    program.chmod(0o755)
    found = await ProgramFile(program).describe()
    assert found["program"] is None
    assert "npm install" in found["problem"]


async def test_a_program_that_hangs_at_its_version_ends_with_the_cancelled_question(tmp_path):
    """The program writes its process id into a FIFO, so that the test knows it runs."""
    started = tmp_path / "started"
    os.mkfifo(started)
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 600\n")
    program.chmod(0o755)
    asking = asyncio.create_task(ProgramFile(program).path())
    process = int(await asyncio.to_thread(started.read_text))
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    assert not psutil.pid_exists(process)
