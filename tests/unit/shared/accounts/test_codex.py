"""ChatGPT's places, wire and file, with both kinds of login."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.accounts.accounts import CodexAccount
from shared.accounts.codex import CodexIssuer, auth_file
from shared.accounts.login import Login
from shared.accounts.oauth import PendingLogin
from shared.settings.providers import CodexOAuthSettings, CodexSettings
from simulator.logins.servers import jwt
from tests.support.logins import codex_content, put

ISSUER = CodexIssuer(CodexSettings(), {"HOME": "/owner"})
PENDING = PendingLogin(
    "codex", "the-state", "the-verifier", "http://127.0.0.1:1455/auth/callback", 0
)


def test_the_place_of_the_login() -> None:
    assert auth_file(CodexSettings(), {"HOME": "/owner"}) == Path("/owner/.codex/auth.json")
    moved = {"HOME": "/owner", "CODEX_HOME": "/moved"}
    assert auth_file(CodexSettings(), moved) == Path("/moved/auth.json")
    assert auth_file(CodexSettings(auth_file=Path("/mine")), moved) == Path("/mine")


async def test_a_chatgpt_login_carries_the_account_of_its_claim(tmp_path: Path) -> None:
    put(tmp_path / ".codex/auth.json", codex_content(3600))
    async with CodexAccount(CodexSettings(), {"HOME": str(tmp_path)}) as account:
        used = await account.authorize()
        state = await account.describe()
    assert used.headers["chatgpt-account-id"] == "acct-1"
    assert used.headers["authorization"].startswith("Bearer ey")
    assert (used.billed_to, state.subscription, state.status) == ("subscription", "plus", "pass")


async def test_an_api_key_in_the_login_file_is_its_own_lane(tmp_path: Path) -> None:
    path = put(tmp_path / "auth.json", {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-file"})
    async with CodexAccount(CodexSettings(auth_file=path)) as account:
        used = await account.authorize()
        assert (dict(used.headers), used.billed_to) == (
            {"authorization": "Bearer sk-file"},
            "api_key",
        )
        assert await account.on_unauthorized(used) is None
        assert (await account.describe()).output == f"API key from {path}"


async def test_an_expired_login_is_renewed_and_its_file_keeps_its_shape(
    tmp_path: Path, simulator_url: str
) -> None:
    path = put(tmp_path / "auth.json", codex_content(-10, "rt-late"))
    oauth = CodexOAuthSettings(base_url=simulator_url)
    async with CodexAccount(CodexSettings(auth_file=path, oauth=oauth)) as account:
        await account.authorize()
        state = await account.describe()
    assert state.status == "pass"
    assert state.expires_at is not None
    text = path.read_text()
    assert '\n  "tokens": {' in text  # as the Codex program writes it
    content = ISSUER.read_login(json.loads(text))
    assert content is not None
    assert content.account_id == "00000000-0000-4000-8000-000000000003"
    assert '"login_owner_id": "kept"' in text
    assert '"last_refresh": "20' in text


def test_the_address_of_the_login_page_names_us() -> None:
    query = parse_qs(urlsplit(ISSUER.authorize_url(PENDING)).query)
    assert query["originator"] == ["ccproxy"]
    assert query["redirect_uri"] == ["http://127.0.0.1:1455/auth/callback"]
    assert query["code_challenge"] == [PENDING.challenge]


def test_the_exchange_is_a_form_and_the_refresh_json() -> None:
    assert not ISSUER.ask_exchange(PENDING, "c").as_json
    assert ISSUER.ask_refresh(Login("a", "r")).as_json


@pytest.mark.parametrize(
    "content",
    [{}, {"tokens": None}, {"tokens": {"access_token": ""}}, {"auth_mode": "apikey", "tokens": {}}],
)
def test_what_holds_no_token_is_no_login(content: dict[str, object]) -> None:
    assert ISSUER.read_login(content) is None


def test_a_token_that_is_no_jwt_serves_without_an_end() -> None:
    login = ISSUER.read_login({"tokens": {"access_token": "opaque"}})
    assert login is not None
    assert (login.expires_at, login.account_id) == (None, "")
    assert ISSUER.headers(login) == {"authorization": "Bearer opaque"}


def test_the_account_may_come_from_the_identity_token() -> None:
    identity = jwt(
        {"https://api.openai.com/auth": {"chatgpt_account_id": "acct-i"}, "email": "o@example.com"}
    )
    login = ISSUER.read_login({"tokens": {"access_token": "opaque", "id_token": identity}})
    assert login is not None
    assert (login.account_id, login.email) == ("acct-i", "o@example.com")


def test_logging_out_keeps_what_belongs_to_others() -> None:
    assert ISSUER.without_login(codex_content() | {"theirs": 1}) == {"theirs": 1}


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {}, True, 1e999])
def test_no_field_of_a_wrong_kind_costs_the_token_that_was_got(wrong: object) -> None:
    claims = (
        "exp",
        "scp",
        "email",
        "https://api.openai.com/auth",
        "https://api.openai.com/profile",
    )
    token = jwt(dict.fromkeys(claims, None if wrong == 1e999 else wrong))
    reply = {"access_token": token, "id_token": wrong, "refresh_token": wrong}
    login = ISSUER.read_login(
        ISSUER.write_login({"tokens": wrong, "auth_mode": wrong}, reply, 1000.0)
    )
    assert login is not None
    assert login.access_token == token
