"""Claude's places, wire and file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.accounts.claude import ClaudeIssuer, login_files, plan_of
from shared.accounts.login import Login
from shared.accounts.oauth import PendingLogin
from shared.settings.providers import ClaudeSettings
from tests.support.logins import claude_content

ISSUER = ClaudeIssuer(ClaudeSettings(), {"HOME": "/owner"})
PENDING = PendingLogin("claude", "the-state", "the-verifier", "http://localhost:1/callback", 0)


def test_the_places_of_a_login_in_their_order() -> None:
    old = Path("/owner/.config/claude/.credentials.json")
    assert login_files(ClaudeSettings(), {"HOME": "/owner"}) == [
        Path("/owner/.claude/.credentials.json"),
        old,
    ]
    moved = {"HOME": "/owner", "CLAUDE_CONFIG_DIR": "/moved"}
    assert login_files(ClaudeSettings(), moved) == [Path("/moved/.credentials.json"), old]
    assert login_files(ClaudeSettings(credentials_file=Path("/mine")), moved) == [Path("/mine")]


def test_the_address_of_the_login_page() -> None:
    query = parse_qs(urlsplit(ISSUER.authorize_url(PENDING)).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["code_challenge"] == [PENDING.challenge]
    assert query["state"] == ["the-state"]
    assert query["code"] == ["true"]
    assert "user:inference" in query["scope"][0]


def test_the_exchange_is_json_with_the_state() -> None:
    ask = ISSUER.ask_exchange(PENDING, "the-code")
    assert ask.as_json
    assert set(ask.fields) == {
        "grant_type",
        "code",
        "redirect_uri",
        "client_id",
        "code_verifier",
        "state",
    }


def test_the_refresh_names_the_scopes() -> None:
    ask = ISSUER.ask_refresh(Login("a", "r"))
    assert ask.as_json
    assert set(ask.fields) == {"grant_type", "refresh_token", "client_id", "scope"}


def test_a_reply_that_names_no_new_refresh_token_keeps_the_old_one() -> None:
    content = ISSUER.write_login(
        claude_content(), {"access_token": "new", "expires_in": 60}, 1000.0
    )
    login = content["claudeAiOauth"]
    assert (login["accessToken"], login["refreshToken"], login["expiresAt"]) == (
        "new",
        "sk-ant-ort01-made-up",
        1060_000,
    )
    assert (login["subscriptionType"], login["scopes"]) == ("max", ["user:inference"])


def test_a_whole_reply_is_kept_as_claude_code_keeps_it() -> None:
    reply = {
        "access_token": "a",
        "refresh_token": "r",
        "expires_in": 60,
        "refresh_token_expires_in": 600,
        "scope": "user:profile user:inference",
        "account": {"uuid": "u1"},
        "organization": {"uuid": "u2"},
        "profile": {"organization": {"organization_type": "claude_pro", "rate_limit_tier": "t"}},
    }
    assert ISSUER.write_login({}, reply, 1000.0)["claudeAiOauth"] == {
        "accessToken": "a",
        "refreshToken": "r",
        "expiresAt": 1060_000,
        "refreshTokenExpiresAt": 1600_000,
        "scopes": ["user:profile", "user:inference"],
        "accountUuid": "u1",
        "organizationUuid": "u2",
        "subscriptionType": "pro",
        "rateLimitTier": "t",
    }


@pytest.mark.parametrize("login", [None, "text", {}, {"accessToken": ""}, {"accessToken": 5}])
def test_what_holds_no_token_is_no_login(login: object) -> None:
    assert ISSUER.read_login({"claudeAiOauth": login}) is None


@pytest.mark.parametrize("expires", [0, None, "soon", -1])
def test_an_expiry_that_says_nothing_is_unknown(expires: object) -> None:
    login = ISSUER.read_login({"claudeAiOauth": {"accessToken": "a", "expiresAt": expires}})
    assert login is not None
    assert login.expires_at is None


def test_logging_out_keeps_what_belongs_to_others() -> None:
    assert "claudeAiOauth" not in ISSUER.without_login(claude_content())
    assert ISSUER.without_login(claude_content())["mcpOAuth"]


def test_an_account_without_a_plan_has_none() -> None:
    assert plan_of({}) == {"subscriptionType": None, "rateLimitTier": None}


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {}, True, 1e999, -1])
def test_no_field_of_a_wrong_kind_costs_the_token_that_was_got(wrong: object) -> None:
    names = (
        "expires_in",
        "refresh_token",
        "refresh_token_expires_in",
        "scope",
        "account",
        "organization",
        "profile",
    )
    reply = {"access_token": "got"} | dict.fromkeys(names, wrong)
    login = ISSUER.read_login(ISSUER.write_login({"claudeAiOauth": wrong}, reply, 1000.0))
    assert login is not None
    assert login.access_token == "got"
