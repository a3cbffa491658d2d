"""The stack of docker-compose.yml on a real engine. The tests share one stack and run in their
order.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.containers.project import (
    CODEX_MODEL,
    MEGABYTE,
    Project,
    build_image,
    docker,
    image_bytes,
    wait_until,
)
from tests.support.compose import load

pytestmark = [pytest.mark.containers, pytest.mark.timeout(700)]

OTHER_USER = "1234"
# What a browser does with the simulator's login page, run where the simulator can be reached.
APPROVE = """
import re, sys, httpx
page = httpx.get(sys.argv[1])
fields = dict(re.findall(r'name="(\\w+)" value="([^"]*)"', page.text)) | {"decision": "approve"}
answer = httpx.post(sys.argv[1].partition("?")[0], data=fields)
shown = re.search("<code>(.+)</code>", answer.text)
print(shown[1] if shown else answer.headers["location"])
"""


def log_in(stack: Project, command: str) -> None:
    """Log in inside the gateway's container, as an owner without a browser there does."""
    line = stack.command(
        "exec", "-T", "claude-code-proxy", "ccproxy", "auth", command, "--no-browser"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, cwd=stack.folder, text=True, **pipes) as login:
        said = ""
        for told in login.stdout:
            said += told
            if told.startswith("http"):
                break
        page = said.splitlines()[-1].strip()
        code = stack.execute("claude-code-proxy", "python", "-c", APPROVE, page)
        rest, _ = login.communicate(code, timeout=60)
        assert login.returncode == 0, said + rest
        assert "Logged in" in rest


def test_the_images_are_small(images):
    base = image_bytes("python:3.12-slim-bookworm")
    above = {name: round((image_bytes(name) - base) / MEGABYTE) for name in images}
    print(  # noqa: T201
        "Megabytes above the base image:", above, "; the base:", round(base / MEGABYTE)
    )
    assert above["ccproxy-api:gateway"] <= 155
    assert above["ccproxy-api:worker"] <= 700


def test_every_container_is_healthy_and_only_prepare_has_ended(stack):
    running = {each["Service"]: each["Health"] for each in stack.containers()}
    expected = set(load("docker-compose.yml")["services"]) - {"prepare", "ccproxy"}
    assert {name for name, health in running.items() if health == "healthy"} == expected
    assert stack.exit_codes()["prepare"] == 0


def test_no_program_of_ours_is_root_or_has_a_capability(stack):
    for service in ("claude-code-proxy", "sdk-worker", "permission-service", "analytics"):
        status = stack.execute(service, "cat", "/proc/1/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [stack.variables["PUID"]] * 4, service
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0, service
        assert facts["NoNewPrivs"] == "1", service


def cpu_seconds(stack: Project, service: str, *command: str) -> float:
    """Return the least CPU time that five runs of `command` took inside the service's container."""
    measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    measure += (
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    return min(float(stack.execute(service, "python", "-c", measure, *command)) for _ in range(5))


@pytest.mark.parametrize(
    ("service", "kind"), [("claude-code-proxy", "gateway"), ("analytics", "analytics")]
)
def test_a_health_check_costs_little_more_than_a_start_of_python(stack, service, kind):
    check = cpu_seconds(stack, service, "ccproxy-alive", kind)
    bare = cpu_seconds(stack, service, "python", "-c", "pass")
    print(  # noqa: T201
        f"A health check of {service}: {check:.3f} s of CPU; an empty Python program: {bare:.3f} s."
    )
    assert check <= max(0.05, 3 * bare)


def test_health_says_that_there_is_no_login_and_how_to_get_one(stack):
    checks = stack.get("/health")["checks"]
    assert "ccproxy auth login" in json.dumps(checks["oauth2_credentials"])


@pytest.mark.parametrize(
    ("command", "file"),
    [("login", "claude/.credentials.json"), ("login-openai", "codex/auth.json")],
)
def test_a_first_login_inside_is_kept_on_the_host(stack, command, file):
    log_in(stack, command)
    kept = stack.folder / "logins" / file
    assert kept.stat().st_uid == int(stack.variables["PUID"])


def test_exec_sees_the_logins_of_the_services(stack):
    status = stack.execute("claude-code-proxy", "ccproxy", "auth", "status")
    assert (status.count("max login"), status.count("plus login")) == (2, 1), status
    assert "runs at http://127.0.0.1:8000" in stack.compose(
        "exec", "-T", "claude-code-proxy", "sh", "-c", "ccproxy status 2>&1"
    )


def test_doctor_inside_finds_nothing_wrong(stack):
    found = json.loads(
        stack.execute("claude-code-proxy", "ccproxy", "doctor", "--json", check=False)
    )
    assert [finding for finding in found if finding["status"] == "fail"] == []


@pytest.mark.parametrize(("door", "model"), [("api", ""), ("sdk", ""), ("codex", CODEX_MODEL)])
def test_each_door_answers(stack, door, model):
    reply = stack.ask(door, f"Hello through {door}.", **({"model": model} if model else {}))
    assert reply.status_code == 200, reply.text
    assert f"Hello through {door}." in reply.text


def test_a_tool_acts_after_a_person_has_allowed_it(stack):
    with stack.open_stream('[[tool:Bash {"command": "touch /data/workspace/made"}]]') as reply:
        request = stack.pending_request()
        assert request["input"]["command"] == "touch /data/workspace/made"
        place = f"{stack.url}/permissions/{request['request_id']}/respond"
        answer = httpx.post(place, json={"allowed": True}, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert b"message_stop" in reply.read()
    owner = stack.execute("sdk-worker", "stat", "-c", "%u", "/data/workspace/made").strip()
    assert owner == stack.variables["PUID"]


def test_the_permission_service_sees_the_workspace_and_cannot_write_it(stack):
    assert "made" in stack.execute("permission-service", "ls", "/data/workspace")
    refused = stack.compose(
        "exec", "-T", "permission-service", "sh", "-c", "touch /data/workspace/x 2>&1", check=False
    )
    assert "Read-only file system" in refused


def test_the_records_of_the_requests_are_in_duckdb_and_those_of_probes_are_not(stack):
    for door in ("api", "sdk", "codex"):
        wait_until(
            lambda door=door: stack.record_count(f"/{door}/v1/messages"), f"the record of /{door}"
        )
    assert stack.record_count("/health") == stack.record_count("/health/live") == 0


def test_three_workers_stay_three(stack):
    stack.set(SDK_WORKERS="3")
    for _ in range(2):
        stack.up()
        assert len(stack.containers("sdk-worker")) == 3
    wait_until(
        lambda: "3 running" in json.dumps(stack.get("/health")["checks"]["sdk_worker"]),
        "three workers on the bus",
    )
    stack.set(SDK_WORKERS="1")


def test_stop_ends_every_stream_in_words_and_every_program_with_0(stack):
    with stack.open_stream('[[tool:Bash {"command": "touch /data/workspace/never"}]]') as reply:
        stack.pending_request()
        stack.compose("stop")
        last = reply.read().decode()
    assert "event: error" in last
    assert "shutting down" in last
    codes = {name: code for name, code in stack.exit_codes().items() if name != "simulator"}
    assert set(codes.values()) == {0}, codes
    stack.up()


def test_down_and_up_lose_no_record_not_even_one_that_was_never_sent(stack):
    before = stack.record_count("/api/v1/messages")
    volumes = docker("volume", "ls", "--quiet").split()
    stack.compose("stop", "redis")
    for number in range(5):
        assert stack.ask("api", f"Number {number}.").status_code == 200
    stack.compose("down")
    stack.up()
    wait_until(lambda: stack.record_count("/api/v1/messages") == before + 5, "the five records")
    assert sorted(docker("volume", "ls", "--quiet").split()) == sorted(
        volumes
    )  # none without a name is left behind


def test_a_new_image_keeps_everything(stack, tmp_path):
    before = stack.record_count("/api/v1/messages")
    old = docker("image", "inspect", "--format", "{{.Id}}", "ccproxy-api:gateway").strip()
    (tmp_path / "Dockerfile").write_text("FROM ccproxy-api:gateway\nLABEL release=next\n")
    try:
        build_image("", tmp_path, tag="ccproxy-api:gateway")
        stack.up()
        image = docker(
            "inspect", "--format", "{{.Config.Labels.release}}", f"{stack.name}-claude-code-proxy-1"
        )
        assert image.strip() == "next"
        assert stack.record_count("/api/v1/messages") == before
        assert stack.ask("api", "After the upgrade.").status_code == 200
    finally:
        docker("tag", old, "ccproxy-api:gateway")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the login folders to another user")
def test_another_puid_takes_everything_over(stack):
    before = stack.record_count("/api/v1/messages")
    stack.set(PUID=OTHER_USER, PGID=OTHER_USER)
    stack.up()
    said = stack.compose("logs", "--no-log-prefix", "prepare")
    assert f"/volumes/data: handing the volume over to {OTHER_USER}:{OTHER_USER}." in said
    assert re.search(r"/folders/claude belongs to user 1000.*sudo chown -R 1234:1234", said)
    for login in (stack.folder / "logins").rglob("*"):
        os.chown(login, int(OTHER_USER), int(OTHER_USER))
    assert stack.record_count("/api/v1/messages") >= before > 0
    assert stack.ask("sdk", "As another user.").status_code == 200
    assert (
        stack.execute("sdk-worker", "stat", "-c", "%u", "/data/workspace/made").strip()
        == OTHER_USER
    )


def test_a_volume_that_cannot_be_written_is_refused_in_words(stack):
    image = ["--network", "none", "--env", "CCPROXY_WRITES=/data/ccproxy", "--user", "4321:4321"]
    refused = subprocess.run(
        ["docker", "run", "--rm", *image, "ccproxy-api:gateway"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 78
    assert "/data/ccproxy cannot be written by user 4321" in refused.stderr


def test_a_read_only_login_is_named(stack):
    service = {"volumes": ["./logins/claude:/data/home/.claude:ro"]}
    (Path(stack.folder) / "read-only.yml").write_text(
        json.dumps({"services": {"claude-code-proxy": service}})
    )
    stack.files.append("read-only.yml")
    stack.up()
    checks = stack.get("/health")["checks"]
    assert "read-only" in json.dumps(checks["oauth2_credentials"])
