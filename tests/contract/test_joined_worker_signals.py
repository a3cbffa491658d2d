"""A joined worker's end: the signals that reach its process."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from ccproxy.cli.exits import DONE, KILLED
from ccproxy.cli.joined_worker import run_until_drained

# A worker that says when it listens to SIGUSR1, and ends as a drained one after it (`{after}`
# seconds later), or by SIGTERM.
WORKER = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(int(sys.argv[1]), signal.SIGTERM)
signal.sigwait([signal.SIGUSR1])
{then}
"""


@pytest.mark.parametrize(
    ("then", "drain_seconds", "code"),
    [
        ("sys.exit(100)", 60.0, DONE),
        ("sys.exit(3)", 60.0, 3),
        ("time.sleep(60)", 0.01, KILLED + signal.SIGTERM),
        ("os.kill(int(sys.argv[1]), signal.SIGINT); time.sleep(60)", 60.0, KILLED + signal.SIGTERM),
    ],
)
def test_a_worker_is_asked_to_finish_first_and_ended_by_the_time_or_a_second_signal(
    then: str, drain_seconds: float, code: int
) -> None:
    command = [sys.executable, "-S", "-c", WORKER.format(then=then), str(os.getpid())]
    assert run_until_drained(command, dict(os.environ), drain_seconds) == code
