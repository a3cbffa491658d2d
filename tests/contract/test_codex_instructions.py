"""The three instruction modes, for each client's format: what the backend is told by the operator
and by the client.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.accounts.codex_profile import NEUTRAL_INSTRUCTIONS
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

BACKEND = "/backend-api/codex/responses"
OF_CODEX = "You are the simulated Codex."
CLIENTS = "Answer in French."
HELLO = {"role": "user", "content": "hello"}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "responses": ("/codex/responses", {"input": [HELLO], "instructions": CLIENTS}),
    "chat": (
        "/codex/v1/chat/completions",
        {"messages": [{"role": "system", "content": CLIENTS}, HELLO]},
    ),
    "messages": ("/codex/v1/messages", {"messages": [HELLO], "system": CLIENTS, "max_tokens": 99}),
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `codex` that knows one model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models = json.dumps(
        {"models": [{"slug": "gpt-5.5", "priority": 1, "base_instructions": OF_CODEX}]}
    )
    path = tmp_path / "codex"
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo codex-cli 1.0.0 || echo '{models}'\n")
    path.chmod(0o755)
    return path


async def told(
    url: str, simulator: GroundTruth, path: str, body: dict[str, Any]
) -> tuple[str, list[str]]:
    """What the backend got: its `instructions`, and the texts of developer messages before the
    user's.
    """
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        reply = await http.post(path, json={"model": "gpt-5.5", **body})
    assert reply.status_code == 200, reply.text
    sent = simulator.last(BACKEND).body
    *before, last = sent["input"]
    assert last["role"] == "user"
    return sent["instructions"], [
        item["content"][0]["text"] for item in before if item["role"] == "developer"
    ]


@pytest.mark.parametrize("format_", REQUESTS)
@pytest.mark.parametrize(
    ("mode", "instructions", "developer"),
    [
        ("override", OF_CODEX, [CLIENTS]),
        ("append", f"{CLIENTS}\n\n{OF_CODEX}", []),
        ("disabled", CLIENTS, []),
    ],
)
async def test_the_clients_words_reach_the_model_in_every_mode(
    open_gateway_at: OpenGateway,
    simulator: GroundTruth,
    program: Path,
    format_: str,
    mode: str,
    instructions: str,
    developer: list[str],
) -> None:
    settings = codex_settings(
        simulator.url, program.parent, cli_path=program, system_prompt_injection_mode=mode
    )
    url = await open_gateway_at(codex=settings)
    path, body = REQUESTS[format_]
    assert await told(url, simulator, path, body) == (instructions, developer)


@pytest.mark.parametrize("format_", REQUESTS)
@pytest.mark.parametrize("mode", ["override", "append"])
async def test_a_client_without_instructions_adds_nothing(
    open_gateway_at: OpenGateway, simulator: GroundTruth, program: Path, format_: str, mode: str
) -> None:
    settings = codex_settings(
        simulator.url, program.parent, cli_path=program, system_prompt_injection_mode=mode
    )
    url = await open_gateway_at(codex=settings)
    path, body = REQUESTS[format_]
    bare = {name: value for name, value in body.items() if name not in {"instructions", "system"}}
    if format_ == "chat":
        bare["messages"] = [HELLO]
    assert await told(url, simulator, path, bare) == (OF_CODEX, [])


async def test_without_the_program_the_words_are_our_own(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> None:
    settings = codex_settings(simulator.url, tmp_path, system_prompt_injection_mode="override")
    url = await open_gateway_at(codex=settings)
    assert await told(url, simulator, *REQUESTS["chat"]) == (NEUTRAL_INSTRUCTIONS, [CLIENTS])


async def test_a_request_of_codex_itself_is_instructed_by_codex_alone(
    open_gateway_at: OpenGateway, simulator: GroundTruth, program: Path
) -> None:
    settings = codex_settings(
        simulator.url, program.parent, cli_path=program, system_prompt_injection_mode="override"
    )
    url = await open_gateway_at(codex=settings)
    body = {
        "model": "gpt-5.5",
        "input": [HELLO],
        "instructions": "own",
        "store": False,
        "stream": True,
    }
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        await http.post("/codex/responses", json=body, headers={"originator": "codex_exec"})
    assert simulator.last(BACKEND).body["instructions"] == "own"
