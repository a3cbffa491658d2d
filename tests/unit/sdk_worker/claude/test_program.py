"""Processes that speak like the program, a few lines of Python each."""

from __future__ import annotations

import asyncio
import os
import sys

import psutil
import pytest

from sdk_worker.claude.program import Program
from shared.runtime.errors import UpstreamError

ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"subtype": "success", "request_id": asked["request_id"], "response": asked["request"]}
    if asked["request"]["subtype"] == "refuse":
        answer = {"subtype": "error", "request_id": asked["request_id"], "error": "no"}
    print(json.dumps({"type": "control_response", "response": answer}), flush=True)
"""


@pytest.fixture
async def start():
    started = []

    async def start(script, *arguments):
        program = Program(
            [sys.executable, "-c", script, *map(str, arguments)], env=dict(os.environ), cwd=None
        )
        started.append(program)
        await program.spawn()
        return program

    yield start
    await asyncio.gather(*(program.stop() for program in started))


async def until_gone(pid):
    for _ in range(1000):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{pid} is still alive")


async def test_a_line_of_any_length_arrives_as_it_was(start):
    said = "a  b " * 200_000
    program = await start(
        f"import json; print(json.dumps({{'type': 'x', 'said': {'a  b '!r} * 200_000}}))"
    )
    assert (await program.read())["said"] == said


async def test_the_end_of_the_program_is_told_with_its_last_words(start):
    program = await start(
        "import sys; print('{\"type\": \"x\"}'); sys.stderr.write('cannot go on\\n'); sys.exit(3)"
    )
    assert (await program.read())["type"] == "x"
    with pytest.raises(UpstreamError, match=r"exit code 3.*cannot go on"):
        await program.read()
    assert await program.has_line(within=10)
    assert not program.alive


async def test_a_line_that_is_no_json_ends_the_program(start):
    program = await start("import time; print('oops', flush=True); time.sleep(600)")
    with pytest.raises(UpstreamError, match="cannot be read"):
        await program.read()


@pytest.mark.parametrize(
    "line",
    ["[7]", '{"type": "control_response"}', '{"type": "control_request", "request": 7}'],
)
async def test_a_line_of_another_form_ends_the_program(start, line):
    program = await start(f"import time; print({line!r}, flush=True); time.sleep(60)")
    with pytest.raises(UpstreamError, match="a line that cannot be read"):
        await program.read()


async def test_a_request_is_answered_or_refused(start):
    program = await start(ECHO)
    assert (await program.control("interrupt", why="x"))["why"] == "x"
    with pytest.raises(UpstreamError, match="refused refuse: no"):
        await program.control("refuse")


async def test_what_was_asked_of_a_program_that_ends_is_an_error(start):
    program = await start("import sys; sys.stdin.readline()")
    with pytest.raises(UpstreamError, match="ended"):
        await program.control("interrupt")
    with pytest.raises(UpstreamError, match="ended"):
        await program.control("interrupt")


async def test_a_program_that_is_not_there_is_an_error():
    program = Program(["/nowhere/claude"], env={}, cwd=None)
    with pytest.raises(UpstreamError, match="cannot be started"):
        await program.spawn()
    await program.stop()


async def test_stopping_ends_what_the_program_started_even_if_it_does_not_listen(start):
    script = """
import json, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf])
print(json.dumps({"type": "x", "child": child.pid}), flush=True)
time.sleep(600)
"""
    program = await start(script)
    child = (await program.read())["child"]
    await program.stop()
    assert not psutil.pid_exists(program.pid)
    await until_gone(child)


async def test_a_silence_is_noticed(start):
    program = await start("import time; time.sleep(600)")
    assert not await program.has_line(within=0.01)
    assert program.resident_bytes() > 0


async def test_the_first_request_of_the_sdk_carries_what_it_has_no_option_for(start):
    program = await start(
        "import sys; sys.stdout.write(sys.stdin.readline()); sys.stdout.write(sys.stdin.readline())"
    )
    program.initialize = {"systemPrompt": ["S"]}
    await program.write(
        '{"type": "sent", "request_id": "1", "request": {"subtype": "initialize"}}\n'
    )
    await program.write('{"type": "sent", "request_id": "2", "request": {"subtype": "other"}}\n')
    first, second = await program.read(), await program.read()
    assert first["request"]["systemPrompt"] == ["S"]
    assert "systemPrompt" not in second["request"]


async def test_calls_to_tools_we_host_are_answered_and_everything_else_is_the_sdks(start):
    script = """
import sys
print('{"type": "control_request", "request_id": "1", "request": {"subtype": "mcp_message", "server_name": "ours", "message": {"id": 7}}}')
print('{"type": "control_request", "request_id": "2", "request": {"subtype": "can_use_tool"}}', flush=True)
sys.stdout.write(sys.stdin.readline().replace("control_response", "seen"))
"""
    program = await start(script)

    async def answer(message):
        return {"id": message["id"], "result": {}}

    program.on_mcp["ours"] = answer
    answer = (await program.read())["response"]
    assert answer == {
        "subtype": "success",
        "request_id": "1",
        "response": {"mcp_response": {"id": 7, "result": {}}},
    }
    assert [line["request_id"] async for line in program.read_messages()] == ["2"]


async def test_a_call_the_program_takes_back_is_broken_off_and_so_is_one_it_dies_with(start):
    script = """
import sys
ask = '{"type": "control_request", "request_id": "%s", "request": {"subtype": "mcp_message", "server_name": "ours", "message": {"id": 7}}}'
print(ask % 1)
print(ask % 2, flush=True)
sys.stdin.readline()
print('{"type": "control_cancel_request", "request_id": "1"}', flush=True)
sys.stdin.readline()
"""
    program, begun, broken_off = await start(script), asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def answer(message):
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.release()

    program.on_mcp["ours"] = answer
    for _ in range(2):
        await begun.acquire()
    await program.write(
        "{}\n" if program.initialized.done() else '{"request_id": "0", "request": {}}\n'
    )
    await broken_off.acquire()
    assert broken_off.locked()
    await program.stop()
    await broken_off.acquire()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's death"
)
async def test_the_program_ends_when_its_worker_is_killed():
    worker = """
import asyncio, os, sys
from sdk_worker.claude.program import Program

async def main():
    program = Program([sys.executable, "-c", "import time; time.sleep(600)"], env=dict(os.environ), cwd=None)
    await program.spawn()
    print(program.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", worker, stdout=asyncio.subprocess.PIPE
    )
    pid = int(await killed.stdout.readline())
    killed.kill()
    await killed.communicate()
    await until_gone(pid)


CALLS_HOOK = """
import json, sys
request = {"subtype": "hook_callback", "callback_id": "x", "input": {"tool_name": "Read"}}
print(json.dumps({"type": "control_request", "request_id": "h1", "request": request}), flush=True)
if sys.argv[1:] == ["cancel"]:
    sys.stdin.readline()
    print(json.dumps({"type": "control_cancel_request", "request_id": "h1"}), flush=True)
    sys.exit()
print(json.dumps({"type": "heard", "line": json.loads(sys.stdin.readline() or "null")}), flush=True)
"""


async def test_a_hook_is_answered_over_the_pipes(start):
    program = await start(CALLS_HOOK)
    asked = []

    async def answer(call):
        asked.append(call)
        return {"decision": "no"}

    program.on_hook = answer
    heard = await program.read()
    response = {"subtype": "success", "request_id": "h1", "response": {"decision": "no"}}
    assert heard["line"] == {"type": "control_response", "response": response}
    assert asked == [{"tool_name": "Read"}]


async def test_a_hook_that_the_program_withdraws_is_cancelled(start):
    program = await start(CALLS_HOOK, "cancel")
    begun, withdrawn = asyncio.Event(), asyncio.Event()

    async def wait(_):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()

    program.on_hook = wait
    await asyncio.wait_for(begun.wait(), 10)
    with pytest.raises(
        UpstreamError, match="ended"
    ):  # the program reads this line, and answers with its end
        await program.control("go")
    assert withdrawn.is_set()
