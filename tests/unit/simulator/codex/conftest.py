"""The backend's and the public interface's pretended doors, called in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from simulator.app import Simulator
from tests.support.simulator_fixture import CHATGPT_HEADERS, OPENAI_KEY

Json = dict[str, Any]


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def backend_body(said: str = "hello", /, **more: Any) -> Json:
    body = {
        "model": "gpt-5.5",
        "instructions": "Be brief.",
        "input": [user(said)],
        "store": False,
        "stream": True,
    }
    return body | {"include": ["reasoning.encrypted_content"]} | more


def events(content: bytes) -> list[Json]:
    return [orjson.loads(line[5:]) for line in content.split(b"\n") if line.startswith(b"data:")]


def items(found: list[Json]) -> list[Json]:
    """The items of a stream as they are once done."""
    return [event["item"] for event in found if event["type"] == "response.output_item.done"]


@dataclass
class Door:
    client: httpx.AsyncClient
    path: str

    async def post(self, body: Any, **options: Any) -> httpx.Response:
        return await self.client.post(self.path, json=body, **options)

    async def ask(self, said: str = "hello", /, **more: Any) -> list[Json]:
        """The events of a reply that must come."""
        reply = await self.post(backend_body(said, **more))
        assert reply.status_code == 200, reply.text
        return events(reply.content)


@pytest.fixture
async def backend() -> AsyncIterator[Door]:
    transport = httpx.ASGITransport(app=Simulator())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://simulator", headers=CHATGPT_HEADERS
    ) as client:
        yield Door(client, "/backend-api/codex/responses")


@pytest.fixture
async def public() -> AsyncIterator[Door]:
    transport = httpx.ASGITransport(app=Simulator())
    headers = {"authorization": f"Bearer {OPENAI_KEY}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://simulator", headers=headers
    ) as client:
        yield Door(client, "/v1/responses")
