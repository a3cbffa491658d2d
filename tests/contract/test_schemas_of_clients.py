"""Tools and output schemas of real programs, on every translated route: answered, and every loss
named.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.formats.sse import events_in
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.schemas import KEY, ODD, TEXT, one
from tests.support.simulator_fixture import GroundTruth

Json = dict[str, Any]
CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.5"
LOCATION = one("location", TEXT) | {"required": ["location"]}


@pytest.fixture
async def http(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False) as opened:
        yield opened


def messages(schema: Any, **more: Any) -> Json:
    tool = {"name": "f", "input_schema": schema} | more
    return {
        "model": GPT,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [tool],
    }


def chat(model: str, schema: Any, **more: Any) -> Json:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema} | more}
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}


def responses(model: str, schema: Any, **more: Any) -> Json:
    tool = {"type": "function", "name": "f", "parameters": schema} | more
    return {"model": model, "input": "hi", "tools": [tool]}


def routes(schema: Any) -> list[tuple[str, Json, str]]:
    """Each translated or prepared route with a body of its format, and the format's name of a
    tool's schema.
    """
    return [
        ("/codex/v1/messages", messages(schema), "tools[].input_schema"),
        ("/codex/v1/chat/completions", chat(GPT, schema), "tools[].function.parameters"),
        ("/codex/v1/responses", responses(GPT, schema), "tools[].parameters"),
        ("/api/v1/chat/completions", chat(CLAUDE, schema), "tools[].function.parameters"),
        ("/api/v1/responses", responses(CLAUDE, schema), "tools[].parameters"),
    ]


def ignored(reply: httpx.Response) -> set[str]:
    return set(filter(None, reply.headers.get("x-ccproxy-ignored", "").split(",")))


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_schema_is_answered_on_every_route(http: httpx.AsyncClient, name: str) -> None:
    schema, for_openai, for_anthropic = ODD[name]
    for path, body, field in routes(schema):
        reply = await http.post(path, json=body)
        assert reply.status_code == 200, (path, reply.text)
        lost = for_openai if path.startswith("/codex") else for_anthropic
        named = {name for name in ignored(reply) if name.startswith("tools")}
        assert named == {f"{field}.{at}".replace(",", "?") for at in lost}


async def test_a_tool_of_claude_code_keeps_everything_but_the_pattern(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    schema = one("key", TEXT | {"pattern": KEY, "minLength": 1}) | {"required": ["key"]}
    reply = await http.post("/codex/v1/messages", json=messages(schema))
    assert ignored(reply) >= {"tools[].input_schema.properties.key.pattern"}
    (tool,) = simulator.last("/backend-api").body["tools"]
    assert tool["parameters"] == one("key", TEXT | {"minLength": 1}) | {"required": ["key"]}


async def test_a_function_without_strict_is_taken_as_openai_takes_it(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    reply = await http.post("/codex/v1/responses", json=responses(GPT, LOCATION))
    assert (reply.status_code, ignored(reply)) == (200, set())
    (tool,) = simulator.last("/backend-api").body["tools"]
    assert (tool["strict"], tool["parameters"]) == (False, LOCATION)


async def test_strict_is_left_off_where_the_budget_ends(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    closed = LOCATION | {"additionalProperties": False}
    tools = [
        {
            "type": "function",
            "function": {"name": f"f{number}", "parameters": closed, "strict": True},
        }
        for number in range(21)
    ]
    reply = await http.post("/api/v1/chat/completions", json=chat(CLAUDE, {}) | {"tools": tools})
    assert (reply.status_code, ignored(reply)) == (200, {"tools[].function.strict"})
    strict = [tool.get("strict", False) for tool in simulator.last("/v1/messages").body["tools"]]
    assert strict == [True] * 20 + [False]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        one("scores", {"type": "object", "additionalProperties": {"type": "integer"}})
        | {"required": ["scores"]},
        one("tree", {"$ref": "#/$defs/node"})
        | {"$defs": {"node": one("next", {"$ref": "#/$defs/node"})}},
        one("both", {"allOf": [{"$ref": "#/$defs/a"}, one("c", TEXT)]})
        | {"$defs": {"a": one("a", TEXT)}},
    ],
)
async def test_an_output_the_dialect_cannot_say_goes_by_instruction(
    http: httpx.AsyncClient, simulator: GroundTruth, schema: Json
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    body = {
        "model": CLAUDE,
        "messages": [{"role": "user", "content": "hi"}],
        "response_format": form,
    }
    reply = await http.post("/api/v1/chat/completions", json=body)
    assert (reply.status_code, ignored(reply)) == (200, {"response_format"})
    sent = simulator.last("/v1/messages").body
    assert "format" not in sent.get("output_config", {})
    assert "It must match this JSON Schema" in sent["system"][-1]["text"]


async def test_a_property_called_pattern_stays(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    await http.post(
        "/codex/v1/messages", json=messages(one("pattern", TEXT | {"description": "\\p{L}"}))
    )
    assert "pattern" in simulator.last("/backend-api").body["tools"][0]["parameters"]["properties"]


BRACKETS = one("filter[id]", TEXT) | {"required": ["filter[id]"]}


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_chat_client_gets_its_argument_keys_back_from_claude(
    http: httpx.AsyncClient, simulator: GroundTruth, streamed: bool
) -> None:
    body = chat("claude-sim-tools", BRACKETS) | {"stream": streamed}
    reply = await http.post("/api/v1/chat/completions", json=body)
    assert (reply.status_code, ignored(reply)) == (200, set())
    if streamed:
        chunks = [
            json.loads(event.data) for event in events_in(reply.content) if event.data != b"[DONE]"
        ]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    else:
        deltas = [reply.json()["choices"][0]["message"]]
    arguments: dict[int, str] = {}
    for place, call in enumerate(call for delta in deltas for call in delta.get("tool_calls", [])):
        index = call.get("index", place)
        arguments[index] = arguments.get(index, "") + call["function"]["arguments"]
    assert [json.loads(text) for text in arguments.values()] == [{"filter[id]": "text"}] * 2
    (tool,) = simulator.last("/v1/messages").body["tools"]
    (name,) = tool["input_schema"]["properties"]
    assert name != "filter[id]"


async def test_a_responses_client_gets_its_argument_keys_back_and_may_answer_the_call(
    http: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    body = responses("claude-sim-tools", BRACKETS)
    first = await http.post("/api/v1/responses", json=body)
    call = next(item for item in first.json()["output"] if item["type"] == "function_call")
    assert json.loads(call["arguments"]) == {"filter[id]": "text"}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "done"}
    history = [{"role": "user", "content": "hi"}, call, result]
    second = await http.post("/api/v1/responses", json=body | {"input": history})
    assert second.status_code == 200, second.text
    sent = simulator.last("/v1/messages").body
    (name,) = sent["tools"][0]["input_schema"]["properties"]
    uses = [
        block
        for turn in sent["messages"]
        for block in turn["content"]
        if block["type"] == "tool_use"
    ]
    assert [use["input"] for use in uses] == [{name: "text"}]


async def test_a_messages_client_gets_anthropics_own_refusal_of_an_argument_key(
    http: httpx.AsyncClient,
) -> None:
    reply = await http.post("/api/v1/messages", json=messages(BRACKETS) | {"model": CLAUDE})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == (
        "tools.0.custom.input_schema.properties: Property keys should match pattern "
        "'^[a-zA-Z0-9_.-]{1,64}$'"
    )
