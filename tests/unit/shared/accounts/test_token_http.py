"""The client of the token endpoints gives every reply, and an OSError where there is none."""

from __future__ import annotations

import pytest

from shared.accounts.token_http import Client


async def test_a_refusing_reply_is_given_like_any_other(simulator_url: str) -> None:
    client = Client()
    answer = await client.send("POST", f"{simulator_url}/oauth/token", json={})
    assert answer.status_code >= 400
    await client.aclose()


async def test_a_server_that_is_away_is_an_os_error_with_words() -> None:
    client = Client()
    with pytest.raises(ConnectionError, match=r"\w"):
        await client.send("GET", "http://127.0.0.1:9/")
    await client.aclose()
