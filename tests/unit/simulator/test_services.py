from __future__ import annotations

import httpx

from simulator.app import Simulator
from tests.simulator_fixture import CHATGPT_HEADERS, KEY_HEADERS, OPENAI_KEY


async def test_each_provider_answers_at_its_paths() -> None:
    transport = httpx.ASGITransport(app=Simulator())
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        claude = (await client.get("/v1/models", headers=KEY_HEADERS)).json()
        openai = (await client.get("/v1/models", headers={"authorization": f"Bearer {OPENAI_KEY}"})).json()
        path = "/backend-api/codex/models?client_version=0.169.0"
        codex = (await client.get(path, headers=CHATGPT_HEADERS)).json()
    assert "has_more" in claude
    assert openai["object"] == "list"
    assert "models" in codex
