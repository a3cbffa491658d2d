"""The token endpoint's answers: tokens, a refusal of the login, or a failure of the server."""

from __future__ import annotations

import asyncio

import pytest

from shared.accounts.oauth import AskTokenServer, GrantRefused
from shared.accounts.token_server import TokenServer, refusal, skew_of
from shared.runtime.errors import UpstreamError
from simulator.logins.servers import CHATGPT_CLIENT

REFRESH = {"grant_type": "refresh_token", "client_id": CHATGPT_CLIENT}


@pytest.mark.parametrize("as_json", [True, False])
async def test_tokens_are_asked_for_in_the_encoding_the_server_expects(
    simulator_url: str, as_json: bool
) -> None:
    async with TokenServer() as tokens:
        ask = AskTokenServer({**REFRESH, "refresh_token": f"rt-asked-{as_json}"}, as_json)
        assert (await tokens.ask(f"{simulator_url}/oauth/token", ask))["refresh_token"]


async def test_a_spent_token_is_a_refusal_with_the_server_s_own_word(simulator_url: str) -> None:
    async with TokenServer() as tokens:
        ask = AskTokenServer({**REFRESH, "refresh_token": "rt-spent-twice"}, as_json=True)
        await tokens.ask(f"{simulator_url}/oauth/token", ask)
        with pytest.raises(GrantRefused, match="refresh_token_reused"):
            await tokens.ask(f"{simulator_url}/oauth/token", ask)


async def test_a_server_in_trouble_is_no_refusal(simulator_url: str) -> None:
    async with TokenServer() as tokens:
        ask = AskTokenServer({**REFRESH, "refresh_token": "rt-unavailable"}, as_json=True)
        with pytest.raises(UpstreamError, match="503"):
            await tokens.ask(f"{simulator_url}/oauth/token", ask)
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await tokens.ask("http://127.0.0.1:9/oauth/token", ask)


async def test_an_answer_without_a_token_is_the_server_s_fault() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        TokenServer() as tokens,
    ):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamError, match="without a token"):
            await tokens.ask(f"http://127.0.0.1:{port}/", AskTokenServer({}, as_json=True))


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
def test_only_an_oauth_error_of_the_right_status_is_about_the_login(
    status: int, body: object, kind: type
) -> None:
    assert type(refusal("localhost", status, {}, body if isinstance(body, dict) else {})) is kind


def test_a_server_that_names_a_pause_is_heard() -> None:
    assert refusal("localhost", 429, {"retry-after": "7"}, {}).headers == {"retry-after": "7"}


def test_the_clocks_are_compared() -> None:
    assert skew_of({"date": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0) == 100.0
    assert skew_of({}, 20.0) == skew_of({"date": "soon"}, 20.0) == 0.0
