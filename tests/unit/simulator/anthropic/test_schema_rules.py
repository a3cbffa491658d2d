"""Schemas of tools and formats, and the budget that strict ones have."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


def request(changes: dict[str, Any]) -> dict[str, Any]:
    user = {"role": "user", "content": "hi"}
    return {"model": "claude-sim-text", "max_tokens": 2048, "messages": [user], **changes}


def strict_tools(count: int, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "tools": [
            {"name": f"f{number}", "input_schema": schema, "strict": True}
            for number in range(count)
        ]
    }


CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
OPTIONS = CLOSED | {"properties": {str(number): {"type": "string"} for number in range(5)}}
UNIONS = CLOSED | {"properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (strict_tools(21, CLOSED), "21 strict tools exceed"),
        (strict_tools(5, OPTIONS), "too many optional parameters (25)"),
        (strict_tools(17, UNIONS), "union types (17)"),
        (
            strict_tools(1, {"type": "object", "properties": {}}),
            "tools.0.custom: For 'object' type",
        ),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "object", "anyOf": [CLOSED]}}]},
            "at the top level",
        ),
        (
            {"tools": [{"name": "f", "input_schema": CLOSED | {"required": True}}]},
            "JSON schema is invalid",
        ),
    ],
)
async def test_schemas_are_checked_and_strict_ones_have_a_budget(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    reply = await client.post("/v1/messages", json=request(changes))
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]


async def test_a_full_budget_is_still_taken(client: httpx.AsyncClient) -> None:
    assert (
        await client.post("/v1/messages", json=request(strict_tools(20, CLOSED)))
    ).status_code == 200
