"""The launcher with stand-ins for the services, then the death of every real one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request

import psutil
import pytest

from ccproxy.launcher.programs import find_script
from tests.support.processes import command_line
from tests.support.stack import alive, environment_of, until

SERVICES = ("redis", "gateway", "sdk_worker", "permission_service", "analytics")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return reply.read()


def ready(url: str) -> bool:
    try:
        return json.loads(get(f"{url}/health/ready"))["status"] != "fail"
    except OSError:
        return False


@pytest.fixture
def plain(start_plain):
    return start_plain().wait_ready()


def test_a_start_prints_its_addresses_and_the_next_step_and_a_stop_ends_well(plain):
    assert f"is ready at {plain.url}" in plain.logs
    assert f"{plain.url}/sdk" in plain.logs
    # With the path of the program where PATH does not have it.
    assert re.search(r"Next       (\S*/)?ccproxy run -- claude", plain.logs)
    assert plain.stop() == 0


def test_every_service_runs_once_and_logs_through_the_launcher(plain):
    for service in (*SERVICES, "listener"):
        until(lambda service=service: len(plain.supervised(service)) == 1, service)
    for service in SERVICES[1:]:
        until(
            lambda service=service: f'"instance": "{service}"' in plain.logs, f"a line of {service}"
        )


@pytest.mark.long
def test_settings_reach_the_services_and_secrets_no_command_line(start_plain):
    stack = start_plain(
        SECURITY__AUTH_TOKEN="s3cret-token", CLAUDE__API_KEY="s3cret-key"
    ).wait_ready()
    belonging = stack.processes()
    passwords = {environment_of(process).get("SUPERVISOR_PASSWORD") for process in belonging} - {
        None
    }
    assert len(passwords) == 1
    command_lines = " ".join(part for process in belonging for part in command_line(process))
    assert "s3cret" not in command_lines
    assert passwords.pop() not in command_lines
    gateway = psutil.Process(stack.pid_of("gateway")).environ()
    assert gateway["SECURITY__AUTH_TOKEN"] == "s3cret-token"
    assert gateway["PYTHONSAFEPATH"] == gateway["CCPROXY_SUPERVISED"] == "1"
    assert gateway["CCPROXY_INSTANCE"] == "gateway_00"
    assert gateway["REDIS__URL"].startswith("unix://")


def test_a_token_given_as_an_option_leaves_the_process_list(plain):
    """It executes itself again, the token in its environment; the launcher that stays is the same
    process.
    """
    command = [*find_script("ccproxy"), "--auth-token", "s3cret", "serve", "--port", "0"]
    environment = plain.environment | {
        "SERVER__RUN_DIR": f"{plain.home}/other",
        "SDK__WORKERS": "0",
    }
    with subprocess.Popen(
        command, env=environment, cwd=plain.home, stderr=subprocess.PIPE
    ) as started:
        until((plain.home / "other/lock").exists, "the launcher")
        process = psutil.Process(started.pid)
        assert "s3cret" not in " ".join(process.cmdline())
        assert process.environ()["SECURITY__AUTH_TOKEN"] == "s3cret"
        started.terminate()
        started.communicate(timeout=30)


@pytest.mark.long
def test_gateways_share_the_one_socket(start_plain):
    stack = start_plain(SERVER__WORKERS="3", SDK__WORKERS="2").wait_ready()
    assert len(stack.supervised("gateway")) == 3
    assert len(stack.supervised("sdk_worker")) == 2
    assert all(json.loads(get(stack.url))["pid"] in stack.supervised("gateway") for _ in range(5))


def test_ctrl_c_in_a_terminal_stops_everything(start_plain):
    stack = start_plain().wait_ready()
    belonging = stack.processes()
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(30) == 0
    stack.assert_gone(belonging)


@pytest.mark.long
def test_it_can_be_stopped_before_it_is_ready(start_plain):
    assert start_plain().stop() in (0, -signal.SIGTERM)


def test_a_killed_launcher_leaves_nothing_behind(plain):
    belonging = plain.processes()
    plain.process.kill()
    plain.process.wait()
    plain.assert_gone(belonging)


def test_a_killed_supervisord_leaves_nothing_behind(plain):
    belonging = plain.processes()
    supervisord = next(
        process for process in belonging if "ccproxy.launcher.supervision" in command_line(process)
    )
    supervisord.kill()
    assert plain.process.wait(30) == 70
    plain.assert_gone(belonging)


@pytest.mark.long
def test_a_killed_service_comes_back_and_what_it_started_goes(start_plain):
    stack = start_plain(STANDIN_CHILD="yes").wait_ready()
    for service in (*SERVICES, "listener"):
        old = stack.pid_of(service)
        children = psutil.Process(old).children()
        if service != "listener":  # which may just be reporting the death before
            assert len(children) == (service != "redis")  # Redis is no stand-in
        stack.kill(service)
        stack.wait_replaced(service, old)
        assert not alive(children)


@pytest.mark.long
def test_a_client_waits_for_a_killed_gateway_and_is_not_refused(plain):
    old = plain.kill("gateway")
    answered_by = json.loads(get(plain.url))["pid"]
    assert answered_by == plain.wait_replaced("gateway", old)


@pytest.mark.long
def test_a_gateway_that_cannot_stay_up_ends_the_stack(start_plain):
    stack = start_plain(STANDIN_CRASH="gateway")
    assert stack.process.wait(60) == 70
    stack.stop()
    assert "this service dies at once" in stack.logs
    # A busy machine may take longer than supervisord's second to reach the crash; then the process
    # has "started".
    assert re.search(r"CCProxy ends: gateway_00 (did not start|ended 5 times)", stack.logs)


@pytest.mark.long
def test_the_rest_goes_on_without_a_service_that_cannot_stay_up(start_plain):
    stack = start_plain(STANDIN_CRASH="analytics").wait_ready()
    until(lambda: "service_down" in stack.logs, "the listener's verdict")
    assert json.loads(get(stack.url))["status"] == "pass"


def test_a_second_start_names_the_first(plain):
    again = subprocess.run(
        plain.process.args,
        cwd=plain.home,
        env=plain.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 75
    assert again.stderr == (
        f"CCProxy is already running at {plain.url} (pid {plain.process.pid}). "
        "Stop it first, or give this one another SERVER__RUN_DIR and --port.\n"
    )


@pytest.mark.long
def test_a_start_right_after_a_crash_takes_over(start_plain):
    """Launcher and supervisord are both killed; the next start finds whatever has not ended yet."""
    crashed = start_plain().wait_ready()
    for process in crashed.processes():
        if process.pid == crashed.process.pid or "ccproxy.launcher.supervision" in command_line(
            process
        ):
            process.kill()
    crashed.process.wait()
    next_one = start_plain(SERVER__RUN_DIR=str(crashed.run_dir))
    next_one.run_dir = crashed.run_dir
    next_one.wait_ready()
    assert all(len(next_one.supervised(service)) == 1 for service in SERVICES)


@pytest.mark.long
def test_another_redis_is_used_and_none_started(start_plain, own_redis):
    stack = start_plain(REDIS__URL=own_redis.url).wait_ready()
    assert not stack.supervised("redis")
    assert psutil.Process(stack.pid_of("analytics")).environ()["REDIS__URL"] == own_redis.url


@pytest.mark.long
def test_a_deep_run_directory_works_though_sockets_have_short_names(start_plain, tmp_path):
    deep = tmp_path / ("d" * 100) / "run"
    stack = start_plain(SERVER__RUN_DIR=str(deep))
    stack.run_dir = deep
    stack.wait_ready()
    assert stack.stop() == 0


# --- the real services ---------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("service", SERVICES)
def test_a_real_service_killed_outright_comes_back(stack, service):
    old = stack.kill(service)
    stack.wait_replaced(service, old)
    until(lambda: ready(stack.url), "readiness")


@pytest.mark.long
@pytest.mark.timeout(150)  # a real stack starts and stops, and a silence of 15 s passes
def test_a_real_service_that_hangs_is_killed_and_comes_back(stack):
    """A stopped process runs no code at all: only the supervisor can notice."""
    old = stack.pid_of("permission_service")
    # Before its first heartbeat a process has four times as long; another test may just have ended
    # the one before it.
    until(lambda: time.time() - psutil.Process(old).create_time() > 12, "its first heartbeats")
    os.kill(old, signal.SIGSTOP)
    stack.wait_replaced("permission_service", old)
    until(lambda: ready(stack.url), "readiness")


@pytest.mark.long
@pytest.mark.timeout(150)  # as above
def test_a_real_service_that_hangs_does_not_outlive_the_stack(start_stack):
    stack = start_stack().wait_ready()
    os.kill(stack.pid_of("permission_service"), signal.SIGSTOP)
    assert stack.stop() == 0
