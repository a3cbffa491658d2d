"""The seam for permissions: a process asks the MCP tool it was given, over whichever SDK."""

from __future__ import annotations

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from sdk_worker.door import drivers
from sdk_worker.launch import PermissionTool
from shared.errors import NoWorker
from tests.sdk_stack import running_stack, worker_settings

pytestmark = [pytest.mark.claude, pytest.mark.asyncio(loop_scope="module")]


class Desk:
    """An MCP server with one tool that decides as it is told, and what it was asked."""

    def __init__(self):
        self.asked, self.tokens, self.url, self.decision = [], set(), "", "allow"

    async def serve(self, request):
        message = orjson.loads(await request.read())
        if "id" not in message:
            return web.Response(status=202)
        self.tokens.add(request.headers.get("x-token"))
        return web.json_response({"jsonrpc": "2.0", "id": message["id"]} | self.answer(message))

    def answer(self, message):
        params = message.get("params", {})
        match message["method"]:
            case "initialize":
                about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "desk", "version": "1"}}
                return {"result": about | {"protocolVersion": params["protocolVersion"]}}
            case "tools/list":
                return {"result": {"tools": [{"name": "decide", "inputSchema": {"type": "object"}}]}}
            case "tools/call":
                self.asked.append(params["arguments"])
                decided = {"behavior": self.decision, "updatedInput": params["arguments"]["input"], "message": "no"}
                return {"result": {"content": [{"type": "text", "text": orjson.dumps(decided).decode()}]}}
        return {"error": {"code": -32601, "message": "unknown"}}

    def tool(self):
        server = {"type": "http", "url": self.url, "headers": {"x-token": "of-this-process"}}
        return PermissionTool({"desk": server}, "mcp__desk__decide")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk():
    desk, app = Desk(), web.Application()
    app.router.add_post("/mcp", desk.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    yield desk
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=drivers(), ids=lambda driver: driver.name)
async def stack(request, desk, simulator_url, tmp_path_factory):
    settings = worker_settings(simulator_url, tmp_path_factory.mktemp("cwd"), pool_size=1)
    async with running_stack(settings, request.param, desk.tool) as running:
        yield running


@pytest.mark.parametrize(("decision", "happens"), [("allow", True), ("deny", False)])
async def test_a_tool_that_acts_waits_for_the_decision(stack, desk, decision, happens):
    file = stack.settings.claude.code_options.cwd / decision
    desk.decision, desk.asked = decision, []
    await stack.answer(f'[[tool:Bash {{"command": "touch {file}"}}]]')
    [asked] = desk.asked
    assert (asked["tool_name"], asked["input"]["command"]) == ("Bash", f"touch {file}")
    assert file.exists() is happens
    assert "of-this-process" in desk.tokens


async def test_the_owners_own_servers_are_there_beside_the_one_that_is_asked(desk, simulator_url, tmp_path):
    settings = worker_settings(simulator_url, tmp_path, pool_size=0)
    servers = {"mcpServers": {"owners": {"type": "http", "url": desk.url}}}
    options = settings.claude.code_options.model_copy(update={"mcp_config": orjson.dumps(servers).decode()})
    claude = settings.claude.model_copy(update={"code_options": options})
    desk.decision, desk.asked = "allow", []
    async with running_stack(settings.model_copy(update={"claude": claude}), drivers()[0], desk.tool) as stack:
        turn = await stack.answer(f'[[tool:Bash {{"command": "touch {tmp_path}/made"}}]]', mode="forward")
    [about] = [block["data"] for block in turn.message["content"] if block["type"] == "system_message"]
    assert {server["name"]: server["status"] for server in about["mcp_servers"]} == {
        "owners": "connected",
        "desk": "connected",
    }
    assert "mcp__owners__decide" in about["tools"]
    assert [asked["tool_name"] for asked in desk.asked] == ["Bash"]
    assert (tmp_path / "made").exists()


async def test_when_nobody_can_be_asked_no_process_starts(simulator_url, tmp_path):
    unreachable = PermissionTool({"desk": {"type": "http", "url": "http://127.0.0.1:9/mcp"}}, "mcp__desk__decide")
    settings = worker_settings(simulator_url, tmp_path, pool_size=0)
    async with running_stack(settings, drivers()[0], lambda: unreachable) as stack:
        with pytest.raises(NoWorker, match="Nobody can be asked"):
            await stack.answer("hi")
