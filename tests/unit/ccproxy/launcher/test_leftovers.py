"""What is left of a session is killed, also a stopped process; other sessions are left alone."""

from __future__ import annotations

import os
import signal
import subprocess

from ccproxy.launcher.leftovers import kill_session


def test_every_process_of_the_session_is_killed_and_no_other() -> None:
    command = ["sh", "-c", "sleep 600 & echo $!; wait"]
    leader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    os.kill(leader.pid, signal.SIGSTOP)
    try:
        assert sorted(kill_session(leader.pid)) == sorted([leader.pid, child])
        assert leader.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        leader.stdout.close()


def test_a_session_without_processes_is_no_error() -> None:
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    assert kill_session(gone.pid) == []
