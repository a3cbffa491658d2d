"""Tools and output schemas of real programs, on every translated route: answered, and every loss named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.codex import codex_settings
from tests.contract.conftest import OpenGateway
from tests.schemas import KEY, ODD, TEXT, one
from tests.simulator_fixture import GroundTruth

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
    return {"model": GPT, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}


def chat(model: str, schema: Any, **more: Any) -> Json:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema} | more}
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}


def responses(model: str, schema: Any, **more: Any) -> Json:
    tool = {"type": "function", "name": "f", "parameters": schema} | more
    return {"model": model, "input": "hi", "tools": [tool]}


def routes(schema: Any) -> list[tuple[str, Json, str]]:
    """Each translated or prepared route with a body of its format, and the format's name of a tool's schema."""
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


async def test_strict_is_left_off_where_the_budget_ends(http: httpx.AsyncClient, simulator: GroundTruth) -> None:
    closed = LOCATION | {"additionalProperties": False}
    tools = [
        {"type": "function", "function": {"name": f"f{number}", "parameters": closed, "strict": True}}
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
        one("scores", {"type": "object", "additionalProperties": {"type": "integer"}}) | {"required": ["scores"]},
        one("tree", {"$ref": "#/$defs/node"}) | {"$defs": {"node": one("next", {"$ref": "#/$defs/node"})}},
        one("both", {"allOf": [{"$ref": "#/$defs/a"}, one("c", TEXT)]}) | {"$defs": {"a": one("a", TEXT)}},
    ],
)
async def test_an_output_the_dialect_cannot_say_goes_by_instruction(
    http: httpx.AsyncClient, simulator: GroundTruth, schema: Json
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    body = {"model": CLAUDE, "messages": [{"role": "user", "content": "hi"}], "response_format": form}
    reply = await http.post("/api/v1/chat/completions", json=body)
    assert (reply.status_code, ignored(reply)) == (200, {"response_format"})
    sent = simulator.last("/v1/messages").body
    assert "format" not in sent.get("output_config", {})
    assert "It must match this JSON Schema" in sent["system"][-1]["text"]


async def test_a_property_called_pattern_stays(http: httpx.AsyncClient, simulator: GroundTruth) -> None:
    await http.post("/codex/v1/messages", json=messages(one("pattern", TEXT | {"description": "\\p{L}"})))
    assert "pattern" in simulator.last("/backend-api").body["tools"][0]["parameters"]["properties"]
