"""The worker as the process it is: real Redis, real program, simulated provider."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import psutil
import pytest

from ccproxy.cli.serve_options import OVERRIDES
from shared.bus import Timings
from shared.bus.channels import SDK_TURN, Turn
from shared.runtime.errors import ClientError, CredentialsMissing, NoWorker, Stopping
from shared.runtime.process import DRAINED_EXIT
from tests.support.logins import claude_content, put
from tests.support.permission_stack import running_desk
from tests.support.processes import running_programs
from tests.support.sdk_stack import body
from tests.support.simulator_fixture import API_KEY, OAUTH_TOKEN

pytestmark = pytest.mark.claude

PROGRAM = Path(sys.executable).with_name("ccproxy-sdk-worker")
STOP_SECONDS = 20.0
PATIENT = Timings(no_worker=20)  # a process needs its time to start


@pytest.fixture
async def start_worker(redis_url, simulator_url, tmp_path):
    processes = []

    def start(**more):
        env = os.environ | {
            "REDIS__URL": redis_url,
            "CLAUDE__BASE_URL": simulator_url,
            "CLAUDE__API_KEY": API_KEY,
            "CLAUDE__CODE_OPTIONS__CWD": str(tmp_path),
            "CLAUDE__SDK_MESSAGE_MODE": "ignore",
            "CLAUDE__BUILTIN_PERMISSIONS": "false",  # there is no gateway to ask through
            "SDK__POOL_SIZE": "1",
            "SDK__WARM": "start",
            "HOME": str(tmp_path),
        }
        processes.append(subprocess.Popen([PROGRAM], env=env | more, cwd=tmp_path))
        return psutil.Process(processes[-1].pid)

    yield start
    for process in processes:
        process.terminate()
        process.wait(STOP_SECONDS)


async def replies(bus, turn):
    async with bus.call(SDK_TURN, turn) as call:
        return [reply async for reply in call]


async def told_about(bus, fact):
    """What the worker says about itself, as soon as it says `fact`."""
    async with asyncio.timeout(STOP_SECONDS):
        while True:
            for process in await bus.processes():
                if process["service"] == "sdk_worker" and fact in process:
                    return process
            await asyncio.sleep(0.05)


def family(worker):
    return worker.children(recursive=True)


async def begun_programs(worker):
    """Return the command lines of the worker's programs, once the successor of a turn's program has
    begun.
    """
    while True:
        found = running_programs(worker, "claude")
        if found:
            return found
        await asyncio.sleep(0.05)


async def test_a_turn_over_the_bus_has_a_head_frames_and_a_tail(start_worker, bus_factory):
    worker, bus = start_worker(CCPROXY_INSTANCE="w7"), await bus_factory(timings=PATIENT)
    head, *frames, tail = await replies(bus, Turn("r1", body("[[say:over the bus]]")))
    assert orjson.loads(head)["worker"] == "w7"
    assert frames[0].startswith(b"event: message_start\n")
    assert b"message_stop" in frames[-1]
    assert orjson.loads(tail)["num_turns"] == 1
    told = await told_about(bus, "driver")
    assert (told["driver"], told["problem"]) == ("claude-agent-sdk", None)
    assert worker.is_running()


async def test_a_request_at_fault_is_told_so(start_worker, bus_factory):
    start_worker()
    with pytest.raises(ClientError, match="messages"):
        await replies(await bus_factory(timings=PATIENT), Turn("r1", {"messages": []}))


async def test_leaving_and_stopping_leave_nothing_behind(start_worker, bus_factory, simulator):
    worker, bus = start_worker(), await bus_factory(timings=PATIENT)
    async with bus.call(SDK_TURN, Turn("r1", body("[[scenario:slow-50x2000]]"))) as call:
        await anext(aiter(call))
        await simulator.until(lambda requests: requests)
    await simulator.until(lambda requests: requests[-1].cancelled)

    async with bus.call(SDK_TURN, Turn("r2", body("[[scenario:slow-50x2000]]"))) as call:
        async for reply in call:
            if reply.startswith(b"event:"):
                break
        started = family(worker)
        assert started
        worker.terminate()
        with pytest.raises(Stopping):
            async for _ in call:
                pass
    _, alive = await asyncio.to_thread(psutil.wait_procs, [worker, *started], STOP_SECONDS)
    assert not alive


@pytest.mark.long
async def test_a_worker_asked_to_finish_takes_nothing_new_and_ends_when_its_turn_is_done(
    start_worker, bus_factory
):
    worker, bus = start_worker(), await bus_factory(timings=PATIENT)
    async with bus.call(SDK_TURN, Turn("r1", body("[[scenario:slow-50x20]]"))) as call:
        frames = b""
        async for reply in call:
            if not frames:
                worker.send_signal(signal.SIGUSR1)
                spare = start_worker(CCPROXY_INSTANCE="other")
            frames += reply
    assert b"message_stop" in frames
    assert await asyncio.to_thread(worker.wait, STOP_SECONDS) == DRAINED_EXIT
    head, *_ = await replies(bus, Turn("r2", body("hi")))
    assert orjson.loads(head)["worker"] == "other"
    assert spare.is_running()


@pytest.mark.long
@pytest.mark.parametrize("folder", [".claude", ".config/claude"])
async def test_a_login_that_comes_while_the_worker_runs_serves_the_next_request(
    start_worker, bus_factory, simulator, tmp_path, folder
):
    """The spare was started without a login, and a key of the owner's own clients stands in the
    environment.
    """
    start_worker(CLAUDE__API_KEY="", ANTHROPIC_API_KEY="sk-ant-api03-not-ours", SDK__POOL_SIZE="2")
    bus = await bus_factory(timings=PATIENT)
    with pytest.raises(CredentialsMissing, match="not logged in"):
        await replies(bus, Turn("r1", body("hi")))
    put(tmp_path / folder / ".credentials.json", claude_content(3600, token=OAUTH_TOKEN))
    for number in range(3):
        assert b"message_stop" in b"".join(
            await replies(bus, Turn(f"after{number}", body("[[say:hello]]")))
        )
    asked = simulator.last("/v1/messages")
    assert asked.header("authorization") == f"Bearer …{OAUTH_TOKEN[-4:]}"


@pytest.mark.long
async def test_every_option_of_the_command_line_reaches_the_program(
    start_worker, bus_factory, redis_url, simulator, tmp_path
):
    (tmp_path / "project").mkdir()
    said = {
        "claude_code_options_cwd": tmp_path / "project",
        "claude_code_options_permission_mode": "acceptEdits",
        "claude_code_options_max_turns": 7,
        "claude_code_options_allowed_tools": "Read,Bash(git log, git diff)",
        "claude_code_options_disallowed_tools": "WebFetch",
        "claude_code_options_append_system_prompt": "Speak like a pirate.",
        "claude_code_options_max_thinking_tokens": 2000,
        "claude_code_options_model": "claude-haiku-4-5",
        "claude_code_options_mcp_config": '{"mcpServers": {}}',
        "claude_sdk_message_mode": "formatted",
    }
    chosen = [
        option
        for option in OVERRIDES
        if option.name.startswith(("claude_code_options", "claude_sdk_message"))
    ]
    assert {option.name for option in chosen} == said.keys()
    worker = start_worker(**{option.setting: option.text(said[option.name]) for option in chosen})
    bus = await bus_factory(timings=PATIENT)
    prompt = body('[[tool:Bash {"command": "pwd"}]]', max_tokens=4000)
    del prompt["model"]
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        frames = b"".join(await replies(bus, Turn("r1", prompt)))
    assert b"<tool_use_sdk>" in frames
    assert str(tmp_path / "project").encode() in frames
    programs = [" ".join(arguments) for arguments in await begun_programs(worker)]
    for flag in (
        "--permission-mode=acceptEdits",
        "--max-turns=7",
        "--allowedTools=Read,Bash(git log, git diff)",
        "--disallowedTools=ListAgents,SendMessage,WebFetch",
        "--model=claude-haiku-4-5",
        '--mcp-config={"mcpServers": {}}',
    ):
        assert all(flag in program for program in programs)
    asked = simulator.requests("/v1/messages")[0].body
    assert (asked["model"], asked["thinking"]["budget_tokens"]) == ("claude-haiku-4-5", 2000)
    assert "Speak like a pirate." in str(asked["system"])


@pytest.mark.long
async def test_without_a_program_the_worker_serves_and_says_what_to_install(
    start_worker, bus_factory, tmp_path
):
    start_worker(CLAUDE__CLI_PATH=str(tmp_path / "none"))
    bus = await bus_factory(timings=PATIENT)
    with pytest.raises(NoWorker, match="npm install"):
        await replies(bus, Turn("r1", body("hi")))
    assert "npm install" in (await told_about(bus, "problem"))["problem"]
