"""The seam for permissions: a process asks over its own pipes, whichever SDK drives it, and does as
it is told.
"""

from __future__ import annotations

import asyncio
import sys

import orjson
import pytest
import pytest_asyncio

from sdk_worker.claude.driver import drivers
from shared.bus.channels import PermissionDecision
from tests.support.sdk_stack import Delivered, body, running_stack, worker_settings

pytestmark = [pytest.mark.claude, pytest.mark.asyncio(loop_scope="module")]

# An MCP server over its standard streams, as an owner may have one.
OWNERS_SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "owners", "version": "1"}}
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]
    answers = {
        "initialize": lambda: {**about, "protocolVersion": message["params"]["protocolVersion"]},
        "tools/list": lambda: {"tools": tools},
    }
    if message.get("method") in answers:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answers[message["method"]]()}), flush=True)
"""


class Desk:
    """Decides as it is told, and keeps what it was asked; `patient` decides nothing until it is
    left.
    """

    def __init__(self):
        self.asked, self.decision = [], "allowed"
        self.waiting, self.left = asyncio.Event(), asyncio.Event()

    async def ask(self, ask):
        self.asked.append(ask)
        if self.decision == "patient":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        return PermissionDecision(ask.request_id, self.decision, message="no")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk():
    return Desk()


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=drivers(), ids=lambda driver: driver.name
)
async def stack(request, desk, simulator_url, tmp_path_factory):
    settings = worker_settings(simulator_url, tmp_path_factory.mktemp("cwd"), pool_size=1)
    async with running_stack(settings, request.param, desk.ask) as running:
        yield running


@pytest.mark.parametrize(("decision", "happens"), [("allowed", True), ("denied", False)])
async def test_a_tool_that_acts_waits_for_the_decision(stack, desk, decision, happens):
    file = stack.settings.claude.code_options.cwd / decision
    desk.decision, desk.asked = decision, []
    await stack.answer(f'[[tool:Bash {{"command": "touch {file}"}}]]')
    [asked] = desk.asked
    assert (asked.tool_name, asked.input["command"], asked.session_id) == (
        "Bash",
        f"touch {file}",
        "r1",
    )
    assert asked.working_directory == str(file.parent)
    assert file.exists() is happens


@pytest.mark.long
async def test_a_turn_that_is_left_takes_its_question_along(stack, desk):
    file = stack.settings.claude.code_options.cwd / "left"
    desk.decision = "patient"
    turn = Delivered(body=body(f'[[tool:Bash {{"command": "touch {file}"}}]]'))
    working = asyncio.create_task(stack.deliver(turn))
    await desk.waiting.wait()
    working.cancel()
    await desk.left.wait()
    await asyncio.gather(working, return_exceptions=True)
    assert not file.exists()
    desk.waiting.clear()
    desk.left.clear()


@pytest.mark.long
async def test_the_owners_own_servers_are_there_beside_the_one_that_is_asked(
    desk, simulator_url, tmp_path
):
    (tmp_path / "server.py").write_text(OWNERS_SERVER)
    servers = {
        "mcpServers": {"owners": {"command": sys.executable, "args": [str(tmp_path / "server.py")]}}
    }
    settings = worker_settings(simulator_url, tmp_path, pool_size=0)
    options = settings.claude.code_options.model_copy(
        update={"mcp_config": orjson.dumps(servers).decode()}
    )
    claude = settings.claude.model_copy(update={"code_options": options})
    desk.decision, desk.asked = "allowed", []
    async with running_stack(
        settings.model_copy(update={"claude": claude}), drivers()[0], desk.ask
    ) as stack:
        turn = await stack.answer(
            f'[[tool:Bash {{"command": "touch {tmp_path}/made"}}]]', mode="forward"
        )
    [about] = [
        block["data"] for block in turn.message["content"] if block["type"] == "system_message"
    ]
    assert {server["name"]: server["status"] for server in about["mcp_servers"]} == {
        "owners": "connected",
        "confirmation": "connected",
    }
    assert "mcp__owners__look" in about["tools"]
    assert "mcp__confirmation__check_permission" not in about["tools"]
    assert [asked.tool_name for asked in desk.asked] == ["Bash"]
    assert (tmp_path / "made").exists()
