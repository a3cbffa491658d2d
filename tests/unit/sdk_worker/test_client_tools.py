from __future__ import annotations

from sdk_worker.client_tools import ClientTools, client_name, program_name

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "$defs": {}}
TOOLS = ClientTools([{"name": "find", "description": "d", "input_schema": SCHEMA}])


async def test_tools_are_listed_as_the_client_wrote_them():
    answer = await TOOLS.answer({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert answer["result"]["tools"] == [
        {"name": "find", "description": "d", "inputSchema": SCHEMA}
    ]


async def test_the_programs_protocol_version_is_ours():
    answer = await TOOLS.answer(
        {"id": 0, "method": "initialize", "params": {"protocolVersion": "2099-01-01"}}
    )
    assert answer["result"]["protocolVersion"] == "2099-01-01"


async def test_a_call_is_left_to_the_client():
    assert await TOOLS.answer({"id": 1, "method": "tools/call", "params": {"name": "find"}}) is None


async def test_anything_else_is_not_offered_and_a_notification_is_only_acknowledged():
    assert (await TOOLS.answer({"id": 1, "method": "resources/list"}))["error"]["code"] == -32601
    assert "error" not in await TOOLS.answer({"method": "notifications/initialized"})


def test_names_differ_between_program_and_client_only():
    assert program_name("find") == "mcp__client__find"
    assert client_name(program_name("find")) == "find"
