"""A token at its limit on every route, in the words that its clients know; and where an owner sees
it coming.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.accounts.token_limits import parse_limit
from shared.accounts.tokens import StoredToken, TokenFile, token_digest
from tests.contract.conftest import OpenGateway

SECRET = "ccp_chatbot-secret-of-thirty-two-letters"
ASK: dict[str, dict[str, Any]] = {
    "/api/v1/messages": {
        "model": "claude-sonnet-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/api/v1/chat/completions": {
        "model": "claude-sonnet-5",
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/api/v1/responses": {"model": "claude-sonnet-5", "input": "hello"},
}


def write_token(path: Path, *limits: str, **facts: Any) -> None:
    token = StoredToken(
        name="chatbot",
        sha256=token_digest(SECRET),
        created_at=time.time(),
        limits=tuple(map(parse_limit, limits)),
        **facts,
    )
    with TokenFile(path).changing() as tokens:
        tokens[:] = [token]


async def gateway_with(open_gateway_at: OpenGateway, path: Path) -> httpx.AsyncClient:
    url = await open_gateway_at(
        security={"tokens_file": path, "auth_token": "the-owner-s-secret"},
        observability={"duckdb_path": path.with_name("records.duckdb")},
    )
    return httpx.AsyncClient(base_url=url, headers={"x-api-key": SECRET}, timeout=20)


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("/api/v1/messages", "billing_error", None),
        ("/api/v1/chat/completions", "insufficient_quota", "insufficient_quota"),
        ("/api/v1/responses", "insufficient_quota", "insufficient_quota"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_token_at_its_limit_is_refused_in_the_route_s_dialect(
    open_gateway_at: OpenGateway, tmp_path: Path, path: str, kind: str, code: str, stream: bool
) -> None:
    file = tmp_path / "tokens.json"
    write_token(file, "1 request/day")
    async with await gateway_with(open_gateway_at, file) as client:
        first = await client.post(path, json=ASK[path] | {"stream": stream})
        assert first.status_code == 200
        second = await client.post(path, json=ASK[path] | {"stream": stream})
    assert second.status_code == 429
    error = second.json()["error"]
    assert error["type"] == kind
    assert error.get("code") == code
    assert error["message"].startswith("spend limit reached · resets ")
    assert second.headers["x-should-retry"] == "false"
    assert 0 < int(second.headers["retry-after"]) <= 86_400


@pytest.mark.long
async def test_a_limit_in_dollars_counts_list_prices(
    open_gateway_at: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    write_token(file, "$1/day")
    async with await gateway_with(open_gateway_at, file) as client:
        path = "/api/v1/messages"
        usage = (await client.post(path, json=ASK[path])).json()["usage"]
        # $2 for a million tokens in, and $10 for a million out.
        cost = (usage["input_tokens"] * 2 + usage["output_tokens"] * 10) / 1_000_000
        assert await used_percent(client) == pytest.approx(cost * 100, abs=0.0001)


async def used_percent(client: httpx.AsyncClient) -> float:
    owner = {"x-api-key": "the-owner-s-secret"}
    answer = await client.get("/usage/limits", headers=owner)
    assert answer.status_code == 200, answer.text
    (token,) = answer.json()["tokens"]
    assert token["active"] == 0
    percent: float = token["limits"][0]["used_percent"]
    return percent


async def test_a_limit_that_is_changed_holds_within_a_second(
    open_gateway_at: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    write_token(file, "1 request/day")
    async with await gateway_with(open_gateway_at, file) as client:
        path = "/api/v1/messages"
        statuses = [(await client.post(path, json=ASK[path])).status_code for _ in range(2)]
        assert statuses == [200, 429]
        write_token(file, "3 requests/day")
        deadline = time.monotonic() + 5
        while (await client.post(path, json=ASK[path])).status_code == 429:
            assert time.monotonic() < deadline


@pytest.mark.long
async def test_a_failed_request_and_a_count_of_tokens_end_among_the_active_ones(
    open_gateway_at: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    write_token(file, at_once=1)
    async with await gateway_with(open_gateway_at, file) as client:
        path = "/api/v1/messages"
        for body in ({"model": "x"}, {"max_tokens": 1}, ASK[path]):
            assert (await client.post(path, json=body)).status_code != 429
        streamed = client.stream("POST", path, json=ASK[path] | {"stream": True})
        async with streamed as reply:
            assert reply.status_code == 200
            await anext(reply.aiter_bytes())
        assert (await client.post(path, json=ASK[path])).status_code == 200


@pytest.mark.long
async def test_limits_are_shown_without_secrets_and_only_to_an_admin(
    open_gateway_at: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    write_token(file, "$5/day", "20%/5h", at_once=2)
    async with await gateway_with(open_gateway_at, file) as client:
        assert (await client.get("/usage/limits")).status_code == 403
        owner = {"x-api-key": "the-owner-s-secret"}
        answer = (await client.get("/usage/limits", headers=owner)).json()
    assert token_digest(SECRET) not in json.dumps(answer)
    (token,) = answer["tokens"]
    shown = [(each["limit"], each["provider"]) for each in token["limits"]]
    assert shown == [("$5.00/day", ""), ("20%/5h", "claude"), ("20%/5h", "codex")]
    assert (token["at_once"], token["active"]) == (2, 0)
