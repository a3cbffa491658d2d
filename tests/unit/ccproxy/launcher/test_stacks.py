"""The registry of running stacks: who is listed, and which entries are no stack any more."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ccproxy.launcher.stacks import RunningStack, keep_listed, running_stacks, start_time


@pytest.fixture
def stack() -> RunningStack:
    """The entry of this very process."""
    pid = os.getpid()
    return RunningStack(
        "http://127.0.0.1:8000", pid, start_time(pid), "/run", "serve", "s3cret", "/tokens.json"
    )


def write(folder: Path, stack: RunningStack, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{stack.pid}-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(asdict(replace(stack, **changes))))
    return path


def test_a_stack_is_listed_for_its_owner_alone_until_its_end(
    tmp_path: Path, stack: RunningStack
) -> None:
    folder = tmp_path / "state" / "stacks"
    with keep_listed(stack, folder) as failure:
        assert failure is None
        assert running_stacks(folder) == [stack]
        [file] = folder.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert running_stacks(folder) == []
    assert list(folder.iterdir()) == []


def test_the_file_of_an_ended_process_is_removed(tmp_path: Path, stack: RunningStack) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    file = write(tmp_path, stack, pid=ended.pid)
    assert running_stacks(tmp_path) == []
    assert not file.exists()


def test_a_process_that_got_the_pid_of_an_ended_launcher_is_no_stack(
    tmp_path: Path, stack: RunningStack
) -> None:
    file = write(tmp_path, stack, started="1")
    assert running_stacks(tmp_path) == []
    assert not file.exists()


def test_two_stacks_are_listed_the_latest_last(tmp_path: Path, stack: RunningStack) -> None:
    other = replace(stack, url="http://127.0.0.1:9000", kind="demo")
    newer = write(tmp_path, other)
    older = write(tmp_path, stack)
    os.utime(older, (1, 1))
    os.utime(newer, (2, 2))
    assert running_stacks(tmp_path) == [stack, other]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}', '"text"'])
def test_a_file_of_another_form_is_left_out_and_stays(
    tmp_path: Path, stack: RunningStack, content: str
) -> None:
    strange = tmp_path / "1.json"
    strange.write_text(content)
    write(tmp_path, stack)
    assert running_stacks(tmp_path) == [stack]
    assert strange.read_text() == content


def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path, stack: RunningStack) -> None:
    (tmp_path / "1.json").mkdir()
    write(tmp_path, stack, kind=7)
    assert running_stacks(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_no_reason_not_to_run(
    tmp_path: Path, stack: RunningStack
) -> None:
    (tmp_path / "file").touch()
    with keep_listed(stack, tmp_path / "file" / "stacks") as failure:
        assert isinstance(failure, OSError)


def test_the_start_time_tells_two_processes_apart() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert start_time(other.pid)
        assert start_time(other.pid) != start_time(os.getpid())
        other.communicate(b"\n")
    assert start_time(other.pid) == ""
