"""The token endpoint's answers: tokens, a refusal of the login, or a failure of the server."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import httpx
import pytest

from shared.credentials.oauth import Ask, GrantRefused, PendingLogin, TokenServer, claims_of, refusal, skew_of
from shared.errors import UpstreamError
from simulator.logins.servers import CHATGPT_CLIENT, jwt

REFRESH = {"grant_type": "refresh_token", "client_id": CHATGPT_CLIENT}


def test_a_pending_login_s_challenge_is_s256_of_its_verifier() -> None:
    pending = PendingLogin.begin("claude", "http://localhost/callback")
    digest = hashlib.sha256(pending.verifier.encode()).digest()
    assert base64.urlsafe_b64decode(pending.challenge + "=") == digest
    assert pending.state != PendingLogin.begin("claude", "").state
    assert len(pending.verifier) >= 43  # RFC 7636, 4.1


@pytest.mark.parametrize("as_json", [True, False])
async def test_tokens_are_asked_for_in_the_encoding_the_server_expects(simulator_url: str, as_json: bool) -> None:
    async with TokenServer() as tokens:
        ask = Ask({**REFRESH, "refresh_token": f"rt-asked-{as_json}"}, as_json)
        assert (await tokens.ask(f"{simulator_url}/oauth/token", ask))["refresh_token"]


async def test_a_spent_token_is_a_refusal_with_the_server_s_own_word(simulator_url: str) -> None:
    async with TokenServer() as tokens:
        ask = Ask({**REFRESH, "refresh_token": "rt-spent-twice"}, as_json=True)
        await tokens.ask(f"{simulator_url}/oauth/token", ask)
        with pytest.raises(GrantRefused, match="refresh_token_reused"):
            await tokens.ask(f"{simulator_url}/oauth/token", ask)


async def test_a_server_in_trouble_is_no_refusal(simulator_url: str) -> None:
    async with TokenServer() as tokens:
        ask = Ask({**REFRESH, "refresh_token": "rt-unavailable"}, as_json=True)
        with pytest.raises(UpstreamError, match="503"):
            await tokens.ask(f"{simulator_url}/oauth/token", ask)
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await tokens.ask("http://127.0.0.1:9/oauth/token", ask)


async def test_an_answer_without_a_token_is_the_server_s_fault() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, TokenServer() as tokens:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamError, match="without a token"):
            await tokens.ask(f"http://127.0.0.1:{port}/", Ask({}, as_json=True))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "gone"}, GrantRefused),
        (401, {"error": {"code": "refresh_token_expired", "message": "old"}}, GrantRefused),
        (400, {"error": "temporarily_unavailable"}, UpstreamError),
        (403, None, UpstreamError),
        (429, {"error": "invalid_grant"}, UpstreamError),
        (500, {"error": "invalid_grant"}, UpstreamError),
    ],
)
def test_only_an_oauth_error_of_the_right_status_is_about_the_login(status: int, body: object, kind: type) -> None:
    response = httpx.Response(status, request=httpx.Request("POST", "http://localhost/"))
    assert type(refusal(response, body if isinstance(body, dict) else {})) is kind


def test_a_server_that_names_a_pause_is_heard() -> None:
    response = httpx.Response(429, headers={"retry-after": "7"}, request=httpx.Request("POST", "http://localhost/"))
    assert refusal(response, {}).headers == {"retry-after": "7"}


def test_the_clocks_are_compared() -> None:
    assert skew_of({"date": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0) == 100.0
    assert skew_of({}, 20.0) == skew_of({"date": "soon"}, 20.0) == 0.0


@pytest.mark.parametrize("token", [None, "", "a.b", "a.!.c", "a.e30=x.c", 5])
def test_what_is_no_jwt_claims_nothing(token: object) -> None:
    assert claims_of(token) == {}


def test_a_jwt_tells_its_claims() -> None:
    assert claims_of(jwt({"exp": 5})) == {"exp": 5}
