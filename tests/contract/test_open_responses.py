"""Every reply and every event of the Responses API validates against the public Open Responses
types.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.open_responses import validate_events, validate_response
from tests.support.simulator_fixture import GroundTruth

ROUTES = {"/api/v1": "claude-sim-text", "/codex/v1": "gpt-5.5", "/codex": "gpt-5.5"}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CITY = {"type": "json_schema", "name": "city", "schema": WEATHER["parameters"], "strict": True}


def user(text: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}, *more],
        }
    ]


REQUESTS: dict[str, dict[str, Any]] = {
    "a text": {"input": "[[say:hello]]"},
    "a system prompt": {
        "input": [{"role": "system", "content": "Be brief."}, *user("[[say:hello]]")]
    },
    "instructions": {"input": user("[[say:hello]]"), "instructions": "Be brief."},
    "an image": {
        "input": user(
            "[[say:a dot]]", {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
        )
    },
    "a conversation": {
        "input": [*user("Hi"), {"role": "assistant", "content": "Hello."}, *user("[[say:again]]")],
    },
    "a tool": {"input": user('[[tool:weather {"city": "Bonn"}]]'), "tools": [WEATHER]},
    "a forced tool": {
        "input": user("Bonn"),
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
    },
    "a schema": {"input": user("Bonn"), "text": {"format": CITY}},
    "a refusal": {"input": user("[[scenario:refusal]]")},
    "a limit": {
        "input": user("[[say:many words that take more tokens than that]]"),
        "max_output_tokens": 16,
    },
    "metadata": {"input": user("[[say:hello]]"), "metadata": {"a": "b"}, "store": False},
    "samples": {
        "input": user("[[say:hello]]"),
        "temperature": 0.5,
        "user": "me",
        "parallel_tool_calls": False,
    },
}
THINKING = {"reasoning": {"effort": "high", "summary": "auto"}}
REASONING = {
    "claude-sim-text": {"input": user("[[scenario:thinking]]")} | THINKING,
    "gpt-5.5": {"input": user("[[scenario:reasoning]]")} | THINKING,
}


@pytest.fixture
async def client(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    address = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    async with httpx.AsyncClient(base_url=address, timeout=30) as opened:
        yield opened


@pytest.mark.parametrize("route", ROUTES)
async def test_every_whole_response_and_every_event_validates(
    client: httpx.AsyncClient, route: str
) -> None:
    problems = {}
    for name, request in (REQUESTS | {"reasoning": REASONING[ROUTES[route]]}).items():
        body = {"model": ROUTES[route]} | request
        whole = await client.post(f"{route}/responses", json=body)
        streamed = await client.post(f"{route}/responses", json=body | {"stream": True})
        try:
            assert whole.status_code == streamed.status_code == 200, whole.text
            validate_response(whole.json())
            types = validate_events(streamed.content)
            assert types[0] == "response.created"
            assert types[-1] in {"response.completed", "response.incomplete"}
        except Exception as error:  # noqa: BLE001
            problems[name] = str(error)[:700]
    assert not problems, "\n".join(f"{name}: {problem}" for name, problem in problems.items())
