from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ccproxy.launcher.rundir import (
    AlreadyRunning,
    RunDirectory,
    end_orphaned_redis,
    holder,
)
from shared.settings.problems import ConfigurationError

HOLD = """
import sys, pathlib
from ccproxy.launcher.rundir import RunDirectory
run = RunDirectory(pathlib.Path(sys.argv[1])).__enter__()
run.tell("http://127.0.0.1:8123")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_start_is_told_who_is_there(other, tmp_path):
    with pytest.raises(
        AlreadyRunning, match=rf"running at http://127.0.0.1:8123 \(pid {other.pid}\)"
    ):
        RunDirectory(tmp_path / "run").__enter__()


def test_a_dead_holders_directory_is_taken_over(other, tmp_path):
    other.kill()
    other.wait()
    (tmp_path / "run/fatal").write_text("an old story")
    with RunDirectory(tmp_path / "run") as run:
        assert run.fatal() is None
        assert holder(run.path) == {"pid": os.getpid(), "url": None}


def test_a_stack_that_is_still_stopping_is_waited_for(tmp_path):
    """The launcher is dead, its supervisord holds the same lock a moment longer."""
    read, write = os.pipe()
    with RunDirectory(tmp_path / "run") as run:
        lingering = subprocess.Popen(["cat"], stdin=read, pass_fds=[run.lock])
        dead = subprocess.Popen(["true"])
        dead.wait()
    os.close(read)
    (tmp_path / "run/supervisord.pid").write_text(str(lingering.pid))
    (tmp_path / "run/lock").write_text(f'{{"pid": {dead.pid}}}')
    end = threading.Timer(0.3, os.close, [write])
    end.start()
    with RunDirectory(tmp_path / "run"):
        assert lingering.wait(10) == 0  # by itself: it was not killed
    end.join()


def test_everything_is_for_the_owner_alone(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        run.write("programs.conf", "x")
        modes = [
            stat.S_IMODE(path.stat().st_mode)
            for path in (run.path, run.path / "lock", run.path / "programs.conf")
        ]
        assert modes == [0o700, 0o600, 0o600]


def test_nothing_but_the_lock_stays(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        run.write("supervisord.conf", "x")
        run.write("fatal", "x")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
    assert holder(tmp_path / "run") == {}


def test_a_run_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used: "):
        RunDirectory(tmp_path / "file/run").__enter__()


@pytest.mark.parametrize("said", ["", "not json", "[1]"])
def test_a_lock_nobody_wrote_in_tells_nothing(tmp_path, said):
    (tmp_path / "lock").write_text(said)
    assert holder(tmp_path) == {}


def test_an_orphaned_redis_ends_before_ours_starts(own_redis):
    path = own_redis.url.removeprefix("unix://")
    end_orphaned_redis(Path(path))
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        client.connect(path)


def test_the_loss_of_the_run_directory_is_noticed_and_it_is_taken_anew(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        assert not run.is_lost()
        shutil.rmtree(run.path)
        assert run.is_lost()
        (tmp_path / "run").mkdir()
        (tmp_path / "run/lock").touch()
        assert run.is_lost(), "another directory of the same name"
        run.retake()
        assert not run.is_lost()
        assert holder(run.path)["pid"] == os.getpid()
