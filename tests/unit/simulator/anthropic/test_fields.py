"""Field shapes as requests meet them: unknown fields, beta fields, and where a complaint points."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "look", "input_schema": {"type": "object"}}
BASE = {"model": "claude-sim-text", "max_tokens": 100, "messages": [USER]}


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
    ({"messages": "hi"}, "messages: Input should be a valid list"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0: Input tag 'tool' found using 'role'"),
    ({"messages": [{"role": "user", "content": "x", "name": "Bob"}]}, "messages.0.name: Extra inputs"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    (block(type="text", text="x", mood="good"), "messages.0.content.0.text.mood: Extra inputs are not permitted"),
    (block(type="video"), "messages.0.content.0: Input tag 'video' found using 'type'"),
    (block(type="text", text="x", cache_control={"type": "forever"}), "cache_control.type: Input should be 'ephemeral'"),
    (block(type="image", source={"type": "url", "url": "http://x/y.png"}), "Only HTTPS URLs are supported."),
    (block(type="image", source={"type": "base64", "media_type": "image/bmp", "data": ""}), "media_type: Input should"),
    (block(type="tool_result", tool_use_id="call 1"), "String should match pattern '^[a-zA-Z0-9_-]+$'"),
    ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [{**TOOL, "name": "a" * 129}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [{**TOOL, "description": None}]}, "tools.0.custom.description: Input should be a valid string"),
    ({"tools": [{"name": "a", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
    ({"tools": [{"name": "a", "input_schema": {"type": "array"}}]}, "expected tags: 'object'"),
    ({"tools": [{**TOOL, "type": "function"}]}, "tools.0: Input tag 'function'"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "thinking.enabled.budget_tokens: Input should be greater"),
    ({"metadata": {"user_id": "u", "team": "t"}}, "metadata.team: Extra inputs are not permitted"),
    ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid list"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low', 'medium'"),
    ({"service_tier": "gold"}, "service_tier: Input should be 'auto' or 'standard_only'"),
]  # fmt: skip
BETA_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("context-management-2025-06-27", {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}),
    ("mcp-client-2025-11-20", {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}),
    ("structured-outputs-2025-11-13", {"output_format": None}),
    ("prompt-caching-scope-2026-01-05", {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "scope": "global"}}]}),
    ("per-turn-control-2026-07-01", {"messages": [USER, {"role": "system", "output_config": {"effort": "low"}}]}),
    ("mid-conversation-tool-changes-2026-07-01", {"messages": [USER, {"role": "system", "content": [{"type": "tool_addition"}]}]}),
    ("tool-provenance-2026-10-26", {"tools": [{**TOOL, "provenance": {"type": "mcp"}}]}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), MISFITS, ids=[row[1][:40] for row in MISFITS])
async def test_a_misfit_is_refused_where_it_stands(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    reply = await client.post("/v1/messages", json=BASE | changes)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
async def test_a_required_field_is_missed(client: httpx.AsyncClient, missing: str) -> None:
    body = {name: value for name, value in BASE.items() if name != missing}
    reply = await client.post("/v1/messages", json=body)
    assert reply.json()["error"]["message"] == f"{missing}: Field required"


@pytest.mark.parametrize(("beta", "changes"), BETA_FIELDS, ids=[row[0] for row in BETA_FIELDS])
async def test_a_beta_field_needs_its_header(
    client: httpx.AsyncClient, beta: str, changes: dict[str, Any]
) -> None:
    refused = await client.post("/v1/messages", json=BASE | changes)
    assert refused.status_code == 400
    accepted = await client.post(
        "/v1/messages", json=BASE | changes, headers={"anthropic-beta": beta}
    )
    assert accepted.status_code == 200, accepted.text


@pytest.mark.parametrize(
    "field",
    [
        {"max_tokens": 5},
        {"stream": False},
        {"stop_sequences": []},
        {"metadata": {}},
        {"service_tier": "auto"},
    ],
)
async def test_counting_refuses_what_only_creating_takes(
    client: httpx.AsyncClient, field: dict[str, Any]
) -> None:
    body = {"model": "claude-opus-5-5", "messages": [USER]}
    assert (await client.post("/v1/messages/count_tokens", json=body)).status_code == 200
    reply = await client.post("/v1/messages/count_tokens", json=body | field)
    assert reply.json()["error"]["message"].endswith("Extra inputs are not permitted")


async def test_tools_the_service_defines_itself_pass(client: httpx.AsyncClient) -> None:
    tools = [{"type": "web_search_20260318", "name": "web_search", "max_uses": 3}, TOOL]
    assert (await client.post("/v1/messages", json=BASE | {"tools": tools})).status_code == 200
