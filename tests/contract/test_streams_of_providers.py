"""Streams written as the standard allows: every route shows the whole reply, and no
error after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.spelling import SPELLINGS
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 99}
ROUTES = [
    ("/api/v1/messages", "claude", ASK),
    ("/api/v1/chat/completions", "claude", ASK),
    ("/api/v1/responses", "claude", {"input": "hello"}),
    ("/codex/v1/messages", "gpt", ASK),
    ("/codex/chat/completions", "gpt", ASK),
    ("/codex/v1/responses", "gpt", {"input": "hello"}),
]


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
async def test_every_spelling_reaches_every_client(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path, number: int
) -> None:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False) as http:
        for path, maker, body in ROUTES:
            for stream in (True, False):
                asked = body | {"model": f"{maker}-sim-spelled-{number}", "stream": stream}
                reply = await http.post(path, json=asked)
                assert reply.status_code == 200, (path, reply.text)
                assert "hello" in reply.text
                assert '"error":{' not in reply.text.replace(" ", "")
                assert "event: error" not in reply.text
