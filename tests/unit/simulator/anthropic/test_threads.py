"""Conversations held by the service: continued with what is new, known by their last reply."""

from __future__ import annotations

from typing import Any

import httpx

BETA = {"anthropic-beta": "message-threads-2026-08-12"}
TOOL = {"name": "weather", "input_schema": {"type": "object"}}


async def send(
    client: httpx.AsyncClient, content: Any, thread: dict[str, str], **more: Any
) -> httpx.Response:
    messages = [{"role": "user", "content": content}]
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": messages,
        "thread": thread,
        **more,
    }
    return await client.post("/v1/messages", json=body, headers=BETA)


async def test_a_thread_remembers_its_messages_and_tools(client: httpx.AsyncClient) -> None:
    first = (await send(client, "[[tool:weather]]", {"type": "create"}, tools=[TOOL])).json()
    result = [
        {"type": "tool_result", "tool_use_id": first["content"][-1]["id"], "content": "sunny"}
    ]
    second = await send(client, result, {"type": "continue", "previous_message_id": first["id"]})
    assert second.json()["content"][-1]["text"] == "The tool answered: sunny"
    third = await send(
        client, "and?", {"type": "continue", "previous_message_id": second.json()["id"]}
    )
    assert third.status_code == 200


async def test_an_unknown_thread_is_a_404_with_its_code(client: httpx.AsyncClient) -> None:
    reply = await send(client, "and?", {"type": "continue", "previous_message_id": "msg_unknown"})
    assert (reply.status_code, reply.json()["error"]["details"]) == (
        404,
        {"error_code": "thread_not_found"},
    )
