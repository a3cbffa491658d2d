"""The official clients and the real `claude`, held until the simulated window is reset."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from shared.accounts.tokens import StoredToken, TokenFile, token_digest
from tests.contract.conftest import OpenGateway
from tests.support.claude_program import Claude, installed_claude
from tests.support.codex import codex_settings
from tests.support.matrix import matrix
from tests.support.simulator_fixture import OAUTH_TOKEN, GroundTruth

pytestmark = pytest.mark.timeout(120)

HELD = {"x-ccproxy-hold": "until-reset"}
OPEN = "The window is open."
# Until the reset: the first that is long enough for a client to be refused on this machine.
SECONDS = (2, 10, 60)
MESSAGES = "/v1/messages"
BACKEND = "/backend-api/codex/responses"
SECRET = "ccp_night-secret-of-thirty-two-letters"

Ask = Callable[[str, str, bool], Awaitable[str]]


@pytest.fixture
async def url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return await open_gateway_at(
        claude={"api_key": None, "oauth_token": OAUTH_TOKEN},
        codex=codex_settings(simulator.url, tmp_path),
        security={"tokens_file": tmp_path / "tokens.json"},
    )


async def ask_messages(url: str, prompt: str, stream: bool, **options: Any) -> str:
    options = {"base_url": f"{url}/api", "api_key": "x", "default_headers": HELD} | options
    body: Any = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": prompt}],
    }
    async with anthropic.AsyncAnthropic(max_retries=0, **options) as client:
        if stream:
            async with client.messages.stream(**body) as streamed:
                return await streamed.get_final_text()
        return str((await client.messages.create(**body)).content[0].text)


async def ask_chat(url: str, prompt: str, stream: bool) -> str:
    body: Any = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": prompt}]}
    async with openai.AsyncOpenAI(
        base_url=f"{url}/api/v1", api_key="x", default_headers=HELD, max_retries=0
    ) as client:
        if stream:
            async with client.chat.completions.stream(**body) as streamed:
                reply = await streamed.get_final_completion()
        else:
            reply = await client.chat.completions.create(**body)
    return str(reply.choices[0].message.content)


async def ask_responses(url: str, prompt: str, stream: bool) -> str:
    body: Any = {"model": "gpt-5.5", "input": prompt}
    async with openai.AsyncOpenAI(
        base_url=f"{url}/codex", api_key="x", default_headers=HELD, max_retries=0
    ) as client:
        if stream:
            async with client.responses.stream(**body) as streamed:
                return str((await streamed.get_final_response()).output_text)
        return str((await client.responses.create(**body)).output_text)


async def until_refused(
    simulator: GroundTruth,
    path: str,
    ask: Callable[[str], Awaitable[object]],
    attempts: tuple[int, ...] = SECONDS,
) -> None:
    """Ask with a prompt that is refused until a reset, and check that it is then answered."""
    for seconds in attempts:
        simulator.clear()
        at = int(time.time()) + seconds
        assert await ask(f"[[scenario:used-up-until-{at}]]") == OPEN
        statuses = [seen.status for seen in simulator.requests(path)]
        if 429 in statuses:
            assert statuses == [429, 200]
            return
    pytest.fail("no request came before its reset")


@pytest.mark.parametrize("stream", matrix([True, False]))
@pytest.mark.parametrize(
    ("ask", "path"), [(ask_messages, MESSAGES), (ask_chat, MESSAGES), (ask_responses, BACKEND)]
)
async def test_an_official_client_is_held_and_answered(
    url: str, simulator: GroundTruth, ask: Ask, path: str, stream: bool
) -> None:
    await until_refused(simulator, path, lambda prompt: ask(url, prompt, stream))


@pytest.mark.long
async def test_a_token_that_wants_it_has_its_requests_held(
    url: str, simulator: GroundTruth, tmp_path: Path
) -> None:
    token = StoredToken(name="night", sha256=token_digest(SECRET), hold="1h")
    with TokenFile(tmp_path / "tokens.json").changing() as tokens:
        tokens.append(token)
    own: dict[str, Any] = {"api_key": SECRET, "default_headers": {}}
    await until_refused(
        simulator, MESSAGES, lambda prompt: ask_messages(url, prompt, stream=True, **own)
    )


@pytest.mark.long
@pytest.mark.claude
async def test_the_claude_program_is_held_and_answered(
    url: str, simulator: GroundTruth, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    wish = "x-ccproxy-hold: until-reset"
    claude = Claude(installed_claude(), home, f"{url}/api", ANTHROPIC_CUSTOM_HEADERS=wish)

    async def ask(prompt: str) -> object:
        return (await claude.ask(prompt))[-1]["result"]

    # The program takes a moment to start.
    await until_refused(simulator, MESSAGES, ask, (8, 30, 60))


async def test_nothing_is_sent_for_a_client_that_has_gone(url: str, simulator: GroundTruth) -> None:
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": "[[scenario:429-3600]]"}],
    }
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        async with client.stream("POST", "/api/v1/messages", json=body, headers=HELD) as reply:
            assert reply.status_code == 200
            (shown,) = (await client.get("/usage/waiting")).json()["requests"]
            assert shown["limit"] == "the 5-hour window of claude"
        deadline = time.monotonic() + 20
        while (await client.get("/usage/waiting")).json()["requests"]:
            assert time.monotonic() < deadline
    assert len(simulator.requests(MESSAGES)) == 1
