from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from supervisor.states import SupervisorStates

from ccproxy.launcher.heartbeats import Heartbeats
from ccproxy.launcher.supervision import (
    TURN_SECONDS,
    InheritedSocket,
    Options,
    ShortPoll,
    Supervision,
)
from shared.runtime.alive_file import HEARTBEAT_SOCKET


class Poller:
    """Remembers how long it was allowed to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.closed = False

    def poll(self, timeout):
        self.slept.append(timeout)
        return [], []

    def close(self):
        self.closed = True


@pytest.fixture
def options(tmp_path):
    heartbeats = Heartbeats(str(tmp_path / "beats"), silent_seconds=0.2, first_beat_seconds=0.4)
    options = Options(os.getppid(), -1, heartbeats)
    options.mood = SupervisorStates.RUNNING
    options.logger = SimpleNamespace(warn=lambda _sentence: None)
    yield options
    heartbeats.close()


def test_a_turn_is_short_and_shorter_while_stopping(options):
    poll = ShortPoll(options, poller := Poller())
    poll.poll(1)
    options.mood = SupervisorStates.SHUTDOWN
    poll.poll(1)
    assert poller.slept[0] == TURN_SECONDS
    assert poller.slept[1] < TURN_SECONDS


def test_the_poller_is_otherwise_the_stock_one(options):
    ShortPoll(options, poller := Poller()).close()
    assert poller.closed


def test_stock_supervisord_still_has_what_is_overridden(options):
    """A method that was renamed would turn our override into one nobody calls."""
    stock = Options.__mro__[1]
    assert all(hasattr(stock, name) for name in ("realize", "setpgrp", "waitpid"))
    assert hasattr(Supervision.__mro__[1], "ordered_stop_groups_phase_1")
    assert isinstance(options.poller, ShortPoll)


def test_it_goes_on_while_the_launcher_lives(options):
    options.notice_orphaned()
    assert options.mood == SupervisorStates.RUNNING


def test_it_stops_when_the_launcher_is_gone():
    script = (
        "from ccproxy.launcher.supervision import Options; options = Options(1 << 22, -1, None); "
        "options.mood = 1; options.notice_orphaned(); print('nobody reads this'); raise "
        "SystemExit(options.mood + 40)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert ended.returncode == SupervisorStates.SHUTDOWN + 40
    assert ended.stdout == b""


def test_a_program_whose_heartbeats_stop_is_killed_with_its_group(options, tmp_path):
    silent = subprocess.Popen(["sh", "-c", "sleep 600 & exec sleep 600"], process_group=0)
    options.pidhistory[silent.pid] = SimpleNamespace(
        config=SimpleNamespace(name="permission_service", environment={})
    )
    os.kill(silent.pid, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(str(silent.pid).encode(), str(tmp_path / "beats"))
    deadline = time.monotonic() + 20
    while silent.poll() is None and time.monotonic() < deadline:
        options.kill_silent()
        time.sleep(0.01)
    assert silent.wait(1) == -signal.SIGKILL


def test_a_program_that_hangs_before_its_first_heartbeat_is_killed(options):
    """Its section names the heartbeat socket, so it owes heartbeats that it never sends."""
    sentences = []
    options.logger = SimpleNamespace(warn=sentences.append)
    hanging = subprocess.Popen(["sleep", "600"], process_group=0)
    options.pidhistory[hanging.pid] = SimpleNamespace(
        config=SimpleNamespace(name="analytics", environment={HEARTBEAT_SOCKET: "beats"})
    )
    deadline = time.monotonic() + 20
    while hanging.poll() is None and time.monotonic() < deadline:
        options.kill_silent()
        time.sleep(0.01)
    assert hanging.wait(1) == -signal.SIGKILL
    assert "analytics" in sentences[0]
    assert "0.4 s" in sentences[0]


def test_a_dead_programs_group_is_killed_with_it(options):
    """The leader dies, its child would have lived on: killed at the moment the leader is reaped."""
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 600 & echo $!; exec sleep 600"],
        stdout=subprocess.PIPE,
        process_group=0,
        bufsize=0,
    )
    child = int(leader.stdout.readline())
    options.pidhistory = {leader.pid: object()}
    leader.kill()
    while options.waitpid()[0] != leader.pid:
        time.sleep(0.01)
    leader.returncode = -signal.SIGKILL
    assert leader.stdout.read() == b""  # closed by the last of the group
    leader.stdout.close()
    assert child != leader.pid


def test_a_stranger_is_reaped_and_its_group_left_alone(options):
    """As process 1 of a container it reaps what it did not start."""
    stranger = subprocess.Popen(["true"])
    options.pidhistory = {}
    while (reaped := options.waitpid())[0] is None or reaped[0] == 0:
        time.sleep(0.01)
    stranger.returncode = 0
    assert reaped == (stranger.pid, 0)


def test_gateways_accept_on_the_launchers_socket_however_often_they_start():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = InheritedSocket(listening.fileno())
        first = config.create_and_bind()
        first.close()
        with config.create_and_bind() as second:
            assert second.getsockname() == listening.getsockname()
            with socket.create_connection(listening.getsockname()), second.accept()[0] as accepted:
                assert accepted.getsockname() == listening.getsockname()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a listening socket is only closed")
def test_clients_are_refused_once_the_programs_are_stopped(tmp_path):
    heartbeats = Heartbeats(str(tmp_path / "beats"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervision = Supervision(Options(os.getppid(), listening.fileno(), heartbeats))
        supervision.stop_groups = []
        with socket.create_connection(listening.getsockname()):
            supervision.ordered_stop_groups_phase_1()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listening.getsockname())
    heartbeats.close()


def test_programs_of_one_priority_stop_together_and_others_wait():
    def group(priority):
        stopped = []
        config = SimpleNamespace(priority=priority)
        return SimpleNamespace(
            config=config, stop_all=lambda: stopped.append(priority), stopped=stopped
        )

    redis, analytics, desk = group(1), group(10), group(10)
    supervision = Supervision(SimpleNamespace(refuse_connections=lambda: None))
    supervision.stop_groups = [redis, analytics, desk]
    supervision.ordered_stop_groups_phase_1()
    assert (redis.stopped, analytics.stopped, desk.stopped) == ([], [10], [10])


def test_nothing_left_to_stop_is_fine():
    supervision = Supervision(SimpleNamespace(refuse_connections=lambda: None))
    supervision.stop_groups = []
    supervision.ordered_stop_groups_phase_1()
