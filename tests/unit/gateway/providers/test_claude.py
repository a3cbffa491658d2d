"""What goes out to Claude: the caller's own words about itself, and the owner's credential."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.providers.claude import merge_betas, prepare_headers
from shared.accounts.login import Authorization
from tests.unit.gateway.conftest import Connection, Start

LOGIN = Authorization({"authorization": "Bearer tok"}, "subscription", "file")


def test_nothing_of_the_connection_or_the_caller_s_secrets_goes_on() -> None:
    caller = {
        b"host": b"localhost",
        b"authorization": b"Bearer callers",
        b"x-api-key": b"callers",
        b"cookie": b"a=b",
        b"x-forwarded-for": b"10.0.0.1",
        b"accept-encoding": b"br",
        b"x-stainless-lang": b"js",
    }
    headers = prepare_headers(caller, LOGIN)
    assert headers == {
        "x-stainless-lang": "js",
        "authorization": "Bearer tok",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "oauth-2025-04-20",
        "accept-encoding": "identity",
        "user-agent": headers["user-agent"],
    }
    assert headers["user-agent"].startswith("ccproxy/")


def test_the_caller_s_version_and_program_are_kept() -> None:
    headers = prepare_headers(
        {b"anthropic-version": b"2026-10-21", b"user-agent": b"mine/2"}, LOGIN
    )
    assert (headers["anthropic-version"], headers["user-agent"]) == ("2026-10-21", "mine/2")


def test_the_beta_a_login_needs_is_added_once_behind_the_caller_s() -> None:
    assert merge_betas("a, b", "oauth-2025-04-20") == "a,b,oauth-2025-04-20"
    assert merge_betas("oauth-2025-04-20,a", "oauth-2025-04-20") == "oauth-2025-04-20,a"


def test_an_api_key_needs_no_beta() -> None:
    assert "anthropic-beta" not in prepare_headers(
        {}, Authorization({"x-api-key": "k"}, "api_key", "")
    )


async def test_a_login_renewed_by_another_program_is_used_after_a_401(
    start_gateway: Start, tmp_path: Path
) -> None:
    login = tmp_path / "credentials.json"
    login.write_text(json.dumps({"claudeAiOauth": {"accessToken": "old"}}))
    running = await start_gateway(claude={"api_key": None, "credentials_file": str(login)})

    async def refuse(connection: Connection) -> None:
        login.write_text(json.dumps({"claudeAiOauth": {"accessToken": "renewed"}}))
        await connection.answer(b"{}", "401 Unauthorized")

    running.provider.scripts += [
        refuse,
        lambda connection: connection.answer(b'{"type":"message"}'),
    ]
    assert (await running.post()).status_code == 200
    tokens = [connection.headers["authorization"] for connection in running.provider.received]
    assert tokens == ["Bearer old", "Bearer renewed"]
    [record] = await running.bus.records(1)
    assert (record.retries, record.billed_to) == (1, "subscription")


async def test_a_401_without_a_new_login_is_passed_on_after_one_try(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(
        lambda connection: connection.answer(b'{"type":"error"}', "401 Unauthorized")
    )
    assert (await running.post()).status_code == 401
    assert len(running.provider.received) == 1
