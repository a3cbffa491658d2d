"""The page where the owner agrees, as a browser drives it."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shared.accounts.claude import ClaudeIssuer
from shared.accounts.oauth import PendingLogin
from shared.settings.providers import ClaudeOAuthSettings, ClaudeSettings

ISSUER = ClaudeIssuer(
    ClaudeSettings(oauth=ClaudeOAuthSettings(authorize_url="http://simulator/cai/oauth/authorize"))
)
LOOPBACK = "http://localhost:5555/callback"


def begin(redirect_uri: str = LOOPBACK) -> PendingLogin:
    return PendingLogin.begin("claude", redirect_uri)


async def press(client: httpx.AsyncClient, pending: PendingLogin, decision: str) -> httpx.Response:
    page = await client.get(ISSUER.authorize_url(pending))
    assert page.status_code == 200
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text)) | {"decision": decision}
    return await client.post("/cai/oauth/authorize", data=fields)


async def test_approving_returns_to_the_asker_with_a_code_and_the_state(
    client: httpx.AsyncClient,
) -> None:
    pending = begin()
    response = await press(client, pending, "approve")
    assert response.status_code == 302
    assert response.headers["location"].startswith(LOOPBACK + "?")
    answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert answer["state"] == [pending.state]
    assert answer["code"]


async def test_denying_returns_with_an_error(client: httpx.AsyncClient) -> None:
    response = await press(client, begin(), "deny")
    assert "error=access_denied" in response.headers["location"]


async def test_without_a_way_back_the_code_is_shown_with_the_state(
    client: httpx.AsyncClient,
) -> None:
    pending = begin(ISSUER.manual_redirect)
    response = await press(client, pending, "approve")
    assert re.search(rf"<code>code-\w+#{re.escape(pending.state)}</code>", response.text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"code_challenge_method": "plain"}, "S256"),
        ({"state": ""}, "Missing state"),
        ({"client_id": "somebody"}, "Unknown client"),
        ({"redirect_uri": "https://elsewhere.example/callback"}, "Redirect URI"),
        ({"redirect_uri": "http://localhost:5555/other"}, "Redirect URI"),
        ({"client_id": "<script>"}, "Unknown client"),
    ],
)
async def test_a_login_that_is_not_as_it_must_be_is_refused(
    client: httpx.AsyncClient, change: dict[str, str], words: str
) -> None:
    query = {
        name: values[0]
        for name, values in parse_qs(urlsplit(ISSUER.authorize_url(begin())).query).items()
    }
    response = await client.get("/cai/oauth/authorize", params=query | change)
    assert response.status_code == 400
    assert words in response.text
    assert "<script>" not in response.text
