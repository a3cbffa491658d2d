"""`ccproxy workers` and `ccproxy status` against a running stack (its services are stand-ins,
supervisord is real).
"""

from __future__ import annotations

import json
import subprocess

import pytest

from ccproxy.cli.exits import DONE, FAILED, NOT_RUNNING
from ccproxy.launcher.programs import find_script
from tests.support.stack import until

pytestmark = pytest.mark.long


@pytest.fixture
def ask():
    """`ask(stack, "workers", "scale", "3")` runs the command where the stack runs."""

    def run(stack, *arguments, **environment):
        return subprocess.run(
            [*find_script("ccproxy"), *arguments],
            env=stack.environment | environment,
            cwd=stack.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def workers(stack, ask):
    found = json.loads(ask(stack, "workers", "list", "--json").stdout)
    return {worker["name"]: worker["pid"] for worker in found}


def test_workers_come_and_go_and_no_other_is_touched(start_plain, ask, tmp_path):
    busy = tmp_path / "busy"
    stack = start_plain(STANDIN_BUSY=str(busy)).wait_ready()
    others = {
        service: stack.supervised(service)
        for service in ("gateway", "analytics", "redis", "listener")
    }
    first = workers(stack, ask)
    assert list(first) == ["sdk_worker_00"]

    assert ask(stack, "workers", "scale", "3").returncode == DONE
    three = workers(stack, ask)
    assert sorted(three) == ["sdk_worker_00", "sdk_worker_01", "sdk_worker_02"]
    assert three["sdk_worker_00"] == first["sdk_worker_00"]
    until(lambda: len(stack.supervised("sdk_worker")) == 3, "three workers")

    busy.touch()
    left = ask(stack, "workers", "scale", "1", "--no-wait")
    assert "Finishing: sdk_worker_01, sdk_worker_02" in left.stderr
    assert workers(stack, ask) == three
    assert ask(stack, "workers", "scale", "2", "--no-wait").returncode == DONE
    assert sorted(workers(stack, ask)) == [f"sdk_worker_{number:02d}" for number in range(4)]

    busy.unlink()
    until(lambda: len(stack.supervised("sdk_worker")) == 2, "the end of those that had a turn")
    assert ask(stack, "workers", "scale", "1").returncode == DONE
    assert workers(stack, ask) == first
    assert others == {service: stack.supervised(service) for service in others}


def test_a_worker_that_was_killed_comes_back_but_one_that_finished_does_not(start_plain, ask):
    stack = start_plain(SDK__WORKERS="2").wait_ready()
    until(lambda: len(stack.supervised("sdk_worker")) == 2, "both workers")
    old = stack.kill("sdk_worker")
    stack.wait_replaced("sdk_worker", old)
    assert ask(stack, "workers", "scale", "1").returncode == DONE
    assert list(workers(stack, ask)) == ["sdk_worker_00"]


def test_status_tells_of_a_running_stack_and_of_none(start_plain, ask):
    stack = start_plain().wait_ready()
    running = ask(stack, "status", "--json")
    assert running.returncode == DONE
    assert json.loads(running.stdout)["url"] == stack.url
    plain = ask(stack, "status")
    assert stack.url in plain.stderr
    assert plain.stdout == "claude credentials\tok\ta made-up key\n"
    elsewhere = str(stack.home / "elsewhere")
    none = ask(stack, "status", SERVER__RUN_DIR=elsewhere)
    assert (none.returncode, none.stdout) == (NOT_RUNNING, "")
    assert "is not running" in none.stderr
    assert ask(stack, "workers", SERVER__RUN_DIR=elsewhere).returncode == NOT_RUNNING


def test_a_gateway_that_does_not_answer_is_no_good_status(start_plain, ask):
    stack = start_plain().wait_ready()
    [entry] = (stack.home / ".local/state/ccproxy/stacks").iterdir()
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"url": "http://127.0.0.1:1"}))
    asked = ask(stack, "status")
    assert asked.returncode == FAILED
    assert "gateway\twrong\tdoes not answer" in asked.stdout
