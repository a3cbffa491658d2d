"""A thousand malformed requests: each gets an answer in its dialect, none a 500, and none learns a
secret.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import API_KEY, GroundTruth

REQUESTS = 1000
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}
MESSAGES = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 32,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive"},
    "stream": False,
}
CHAT = {
    "model": "claude-sonnet-5-5",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
        }
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    },
    "stream": True,
    "stream_options": {"include_usage": True},
}
RESPONSES = {
    "model": "claude-sonnet-5-5",
    "instructions": "s",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    ],
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "text"}},
}
BACKEND = RESPONSES | {
    "model": "gpt-5.5",
    "service_tier": "priority",
    "include": ["reasoning.encrypted_content"],
}
CODEX = [
    ("/codex/responses", BACKEND),
    ("/codex/v1/messages", MESSAGES | {"model": "gpt-5.5"}),
    ("/codex/chat/completions", CHAT | {"model": "gpt-5.5"}),
]
TARGETS = [
    ("/api/v1/messages", MESSAGES),
    ("/api/v1/messages/count_tokens", MESSAGES),
    ("/api/v1/chat/completions", CHAT),
    ("/api/v1/responses", RESPONSES),
    *CODEX,
]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    "",
    "\ud83d",
    "x" * 5000,
    [],
    {},
    [[]],
    {"type": "odd"},
    [None],
    "\0",
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


def malformed(document: Any, chance: random.Random) -> bytes:
    """The document with one to three of its values replaced, removed, doubled, or its text cut."""
    changed = orjson.loads(orjson.dumps(document))
    for _ in range(chance.randint(1, 3)):
        *path, last = chance.choice(places(changed)[1:] or [("model",)])
        holder = changed
        for key in path:
            holder = holder[key]
        match chance.randrange(4):
            case 0 if isinstance(holder, dict):
                holder.pop(last, None)
            case 1 if isinstance(holder, list):
                holder.append(holder[last])
            case 2 if isinstance(holder, dict):
                holder["odd_field"] = chance.choice(ODD)
            case _:
                holder[last] = chance.choice(ODD)
    text = (
        orjson.dumps(changed, default=repr)
        if is_writable(changed)
        else repr(changed).encode("utf-8", "replace")
    )
    return text[: chance.randrange(len(text))] if chance.random() < 0.05 else text


def is_writable(document: Any) -> bool:
    try:
        orjson.dumps(document)
    except (TypeError, orjson.JSONEncodeError):
        return False
    return True


async def test_malformed_requests_get_a_clear_answer_and_no_secret(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> None:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    chance = random.Random(20261122)
    statuses: dict[int, int] = {}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for _ in range(REQUESTS):
            path, document = chance.choice(TARGETS)
            body = malformed(document, chance)
            response = await client.post(
                path, content=body, headers={"content-type": "application/json"}
            )
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            assert response.status_code not in {500, 502}, (path, body, response.text)
            assert API_KEY not in response.text
            assert "Traceback" not in response.text
            if response.status_code >= 400:
                told = response.json()
                assert told.get("detail") or told["error"]["message"], (path, body)
    assert statuses[400] > REQUESTS / 4, statuses


ODD_TAILS = [
    "?limit=x",
    "?limit=-1",
    "?start_time=nan",
    "?end_time=1e400",
    "?model=%00",
    "?order=;drop",
    "/%2e%2e",
    "/%ff",
]
PAGES = [
    "/logs/query",
    "/logs/status",
    "/health",
    "/metrics",
    "/api/v1/models",
    "/permissions/nothing",
]


async def test_odd_queries_and_paths_of_the_management_are_answered(
    open_gateway_at: OpenGateway,
) -> None:
    async with httpx.AsyncClient(base_url=await open_gateway_at(), timeout=30) as client:
        addresses = [path + tail for path in PAGES for tail in ODD_TAILS]
        replies = await asyncio.gather(*map(client.get, addresses))
    assert {
        address: reply.text
        for address, reply in zip(addresses, replies, strict=True)
        if reply.status_code == 500
    } == {}
