"""The token endpoints refuse what the real ones refuse, and answer as they answer."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.oauth import AskTokenServer, Issuer, PendingLogin, claims_of
from shared.settings.providers import (
    ClaudeOAuthSettings,
    ClaudeSettings,
    CodexOAuthSettings,
    CodexSettings,
)
from tests.unit.simulator.logins.test_authorize import press

CLAUDE = ClaudeIssuer(
    ClaudeSettings(
        oauth=ClaudeOAuthSettings(
            authorize_url="http://simulator/cai/oauth/authorize",
            token_url="http://simulator/v1/oauth/token",
        )
    )
)
CODEX = CodexIssuer(CodexSettings(oauth=CodexOAuthSettings(base_url="http://simulator")))


async def send(client: httpx.AsyncClient, issuer: Issuer, ask: AskTokenServer) -> httpx.Response:
    body: dict[str, Any] = {"json": dict(ask.fields)} if ask.as_json else {"data": dict(ask.fields)}
    return await client.post(issuer.token_url, **body)


async def approved(client: httpx.AsyncClient) -> tuple[PendingLogin, str]:
    pending = PendingLogin.begin("claude", "http://localhost:5555/callback")
    response = await press(client, pending, "approve")
    return pending, httpx.URL(response.headers["location"]).params["code"]


async def test_claude_s_code_is_good_for_one_exchange_and_its_token_for_messages(
    client: httpx.AsyncClient,
) -> None:
    pending, code = await approved(client)
    ask = CLAUDE.ask_exchange(pending, code)
    reply = (await send(client, CLAUDE, ask)).json()
    assert reply["access_token"].startswith("sk-ant-oat01-")
    assert reply["refresh_token"].startswith("sk-ant-ort01-")
    headers = {"authorization": f"Bearer {reply['access_token']}"}
    del client.headers["x-api-key"]
    assert (await client.get("/api/oauth/profile", headers=headers)).status_code == 200
    again = await send(client, CLAUDE, ask)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "field", ["state", "code_verifier", "redirect_uri", "client_id", "code", "grant_type"]
)
async def test_claude_s_exchange_must_be_right_in_every_field(
    client: httpx.AsyncClient, field: str
) -> None:
    pending, code = await approved(client)
    fields = dict(CLAUDE.ask_exchange(pending, code).fields)
    assert (
        await send(client, CLAUDE, AskTokenServer(fields | {field: "wrong"}, as_json=True))
    ).status_code == 400
    del fields[field]
    assert (await send(client, CLAUDE, AskTokenServer(fields, as_json=True))).status_code == 400


async def test_claude_takes_no_form(client: httpx.AsyncClient) -> None:
    pending, code = await approved(client)
    assert (
        await send(client, CLAUDE, AskTokenServer(CLAUDE.ask_exchange(pending, code).fields, False))
    ).status_code == 400


async def test_an_expired_token_is_refused_by_messages(client: httpx.AsyncClient) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": "sk-ant-ort01-lives-0"}
    ask = AskTokenServer(
        {**fields, "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e"}, as_json=True
    )
    token = (await send(client, CLAUDE, ask)).json()["access_token"]
    del client.headers["x-api-key"]
    headers = {"authorization": f"Bearer {token}", "anthropic-beta": "oauth-2025-04-20"}
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "hi"}],
    }
    response = await client.post("/v1/messages", json=body, headers=headers)
    assert response.status_code == 401
    assert "expired" in response.json()["error"]["message"]


async def test_chatgpt_s_code_is_exchanged_as_a_form_only(client: httpx.AsyncClient) -> None:
    pending = PendingLogin.begin("codex", "http://127.0.0.1:1455/auth/callback")
    for as_json, status in ((True, 400), (False, 200)):
        page = CODEX.authorize_url(pending).replace("http://simulator", "")
        fields = dict(httpx.URL(page).params) | {"decision": "approve"}
        location = (await client.post("/oauth/authorize", data=fields)).headers["location"]
        ask = CODEX.ask_exchange(pending, httpx.URL(location).params["code"])
        response = await send(client, CODEX, AskTokenServer(ask.fields, as_json))
        assert response.status_code == status
    claims = claims_of(response.json()["access_token"])
    assert claims["exp"] > time.time()
    assert claims["https://api.openai.com/auth"]["chatgpt_account_id"]


@pytest.mark.parametrize(
    ("token", "code"), [("rt-twice", "refresh_token_reused"), ("rt-revoked", "invalidated")]
)
async def test_chatgpt_names_why_a_refresh_token_is_refused(
    client: httpx.AsyncClient, token: str, code: str
) -> None:
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": token,
        "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
    }
    await send(client, CODEX, AskTokenServer(fields, as_json=True))
    response = await send(client, CODEX, AskTokenServer(fields, as_json=True))
    assert response.status_code == 401
    assert code in response.json()["error"]["code"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"a":1}', b"a=%ff"])
async def test_nonsense_is_refused_in_json(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/v1/oauth/token", "/oauth/token"):
        for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
            response = await client.post(path, content=body, headers={"content-type": kind})
            assert response.status_code == 400
            assert response.json()["error"]
