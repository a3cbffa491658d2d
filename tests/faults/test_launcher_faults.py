"""Faults around the processes, on a stack of stand-ins: what the launcher and its supervisord make
of them.
"""

from __future__ import annotations

import json
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.stack import Stack, until

Start = Callable[..., Stack]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return bool(json.loads(reply.read())["status"] == "pass")
    except OSError:
        return False


def garble(file: Path) -> None:
    """Write noise into the middle of a file."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(range(64, 128))
    file.write_bytes(content)


@pytest.mark.long
def test_a_redis_that_cannot_read_its_file_is_started_without_it(start_plain: Start) -> None:
    first = start_plain().wait_ready()
    first.stop()
    [file] = (first.run_dir / "redis/appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" * 50)
    garble(file)
    stack = start_plain(SERVER__RUN_DIR=str(first.run_dir))
    stack.run_dir = first.run_dir
    stack.wait_ready()
    assert answers(stack.url), "the gateway serves, whatever Redis does"
    until(lambda: "redis_data_set_aside" in stack.logs, "the sentence about the data")
    [aside] = stack.run_dir.glob("redis.unreadable-*")
    assert str(aside) in stack.logs
    assert list(aside.rglob("*.incr.aof")), "the data is kept"
    until(
        lambda: stack.supervised("redis") and list((stack.run_dir / "redis").rglob("*.aof")),
        "a Redis without data",
    )


@pytest.mark.faults
def test_a_redis_that_cannot_start_at_all_does_not_end_the_stack(
    start_plain: Start, tmp_path: Path
) -> None:
    """Its program says its version, as `find_server` asks, and then never starts."""
    program = tmp_path / "valkey-server"
    program.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Valkey server v=9.1.2 sha=0' || exit 1\n"
    )
    program.chmod(0o755)
    stack = start_plain(REDIS__SERVER_BINARY=str(program)).wait_ready()
    until(lambda: '"service_down"' in stack.logs, "the listener's verdict")
    assert answers(stack.url)
    assert stack.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize(
    "what", ["the directory", pytest.param("its sockets", marks=pytest.mark.faults)]
)
def test_the_stack_starts_again_when_its_run_directory_is_removed(
    start_plain: Start, what: str
) -> None:
    stack = start_plain(SERVER__STATE_DIR="state").wait_ready()
    gateway, url = stack.pid_of("gateway"), stack.url
    if what == "the directory":
        shutil.rmtree(stack.run_dir)
    else:
        for name in ("control.sock", "redis.sock", "heartbeats.sock"):
            (stack.run_dir / name).unlink()
    until(lambda: "was removed; CCProxy starts again" in stack.logs, "the sentence about the loss")
    until(lambda: stack.logs.count("is ready at") == 2, "the second start")
    assert stack.url == url, "clients find it at the same address"
    assert stack.pid_of("gateway") != gateway
    assert list((stack.home / "state/redis").rglob("*.aof")), "the data of Redis lies elsewhere"
    assert stack.stop() == 0


def test_a_gateway_dies_beside_a_broken_file_and_comes_back(start_plain: Start) -> None:
    stack = start_plain(SERVER__WORKERS="2").wait_ready()
    (stack.home / ".ccproxy.toml").write_text("[server\n")
    old = stack.kill("gateway")
    until(lambda: len(set(stack.supervised("gateway")) - {old}) == 2, "another gateway")
    assert answers(stack.url)


@pytest.mark.faults
@pytest.mark.timeout(180)  # the minute for a first heartbeat passes
def test_a_service_that_hangs_before_its_first_heartbeat_is_killed_and_comes_back(
    start_plain: Start,
) -> None:
    stack = start_plain(STANDIN_MUTE="analytics").wait_ready()
    mute = stack.pid_of("analytics")
    beating = stack.pid_of("permission_service")
    until(
        lambda: f"analytics (pid {mute}) has been silent for 60 s" in stack.logs,
        "the supervisor's sentence",
        deadline=100,
    )
    until(lambda: set(stack.supervised("analytics")) - {mute}, "another process")
    assert stack.pid_of("permission_service") == beating


@pytest.mark.faults
def test_the_death_of_the_listener_and_a_gateway_that_keeps_dying_end_no_stack(
    start_plain: Start,
) -> None:
    """The new listener has seen no event of the gateway that lives."""
    stack = start_plain(SERVER__WORKERS="2", STANDIN_CRASH_INSTANCE="gateway_01").wait_ready()
    stack.kill("listener")
    until(lambda: '"service_down"' in stack.logs, "the listener's verdict")
    assert answers(stack.url)
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(30) == 0
