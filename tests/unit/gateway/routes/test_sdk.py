"""The addresses under /sdk."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.bus.channels import SESSION_PREFIX, KnownSession, encode_payload
from tests.unit.gateway.conftest import KeepingBus, Start
from tests.unit.gateway.providers.test_sdk import BLOCK, DELTA, END, HEAD, START, OneTurnBus


class WorkingBus(KeepingBus):
    @contextlib.asynccontextmanager
    async def call(
        self, channel: Any, payload: Any, *, request_id: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with OneTurnBus(HEAD, START + BLOCK, DELTA, END).call(
            channel, payload, request_id=request_id
        ) as replies:
            yield replies


async def test_a_turn_is_answered_whole(start_gateway: Start) -> None:
    running = await start_gateway(WorkingBus())
    response = await running.post("/sdk/v1/messages")
    assert response.json()["content"] == [{"type": "text", "text": "a"}]
    assert response.headers["x-ccproxy-ignored"] == "temperature"


async def test_a_turn_is_answered_as_a_stream(start_gateway: Start) -> None:
    running = await start_gateway(WorkingBus())
    response = await running.post(
        "/sdk/v1/messages", json={"model": "claude-x", "stream": True, "messages": []}
    )
    assert response.content == START + BLOCK + DELTA + END
    [record] = await running.bus.records(1)
    assert (record.service_type, record.worker, record.tokens_output) == ("sdk", "worker-1", 7)


class RememberingBus(WorkingBus):
    """Knows one conversation, and keeps the turns that were placed."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[Any] = []
        self.shelf = {
            f"{SESSION_PREFIX}1": encode_payload(
                KnownSession("t", 3, 0.5, "talk", "aider", None, 7.0)
            )
        }

    async def run_script(self, _script: str, _keys: Any, *_arguments: Any) -> int:
        return 0  # it has no copy of a transcript

    async def scan(self, prefix: str) -> dict[str, bytes]:
        return {key: value for key, value in self.shelf.items() if key.startswith(prefix)}

    async def get(self, _key: str) -> bytes | None:
        return None

    async def delete(self, key: str) -> None:
        del self.shelf[key]

    def call(self, channel: Any, payload: Any, *, request_id: str) -> Any:
        self.turns.append(payload)
        return super().call(channel, payload, request_id=request_id)


@pytest.mark.parametrize(
    ("path", "headers", "metadata"),
    [
        ("/sdk/talk/v1/messages", {}, {}),
        ("/sdk/v1/messages", {"x-session-id": "talk"}, {}),
        ("/sdk/v1/messages", {}, {"metadata": {"session_id": "talk"}}),
        ("/sdk/talk/v1/messages", {"x-session-id": "other"}, {"metadata": {"session_id": "third"}}),
    ],
)
async def test_a_conversation_is_named_by_address_header_or_metadata(
    start_gateway: Start, path: str, headers: dict[str, str], metadata: dict[str, Any]
) -> None:
    bus = RememberingBus()
    running = await start_gateway(bus)
    await running.post(path, headers=headers, json={"model": "claude-x", "messages": []} | metadata)
    assert bus.turns[0].session_id == "talk"
    [record] = await running.bus.records(1)
    assert record.endpoint == path.replace("/talk/", "/{session_id}/")


async def test_conversations_are_listed_and_forgotten_by_name(start_gateway: Start) -> None:
    running = await start_gateway(RememberingBus())
    [session] = (await running.client.get("/sdk/sessions")).json()["sessions"]
    assert (session["name"], session["turns"], session["caller"]) == ("talk", 3, "aider")
    assert (await running.client.delete("/sdk/sessions/talk")).json() == {"forgotten": 1}
    assert (await running.client.delete("/sdk/sessions/talk")).status_code == 404


@pytest.mark.parametrize("session", ["", "/talk"])
async def test_tokens_are_estimated_and_marked_as_an_estimate(
    start_gateway: Start, session: str
) -> None:
    running = await start_gateway(WorkingBus())
    asked = {"model": "claude-x", "messages": [{"role": "user", "content": "word " * 100}]}
    reply = await running.post(f"/sdk{session}/v1/messages/count_tokens", json=asked)
    assert reply.headers["x-ccproxy-estimate"] == "true"
    assert 100 <= reply.json()["input_tokens"] <= 200
