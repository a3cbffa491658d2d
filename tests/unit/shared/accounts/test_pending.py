"""Logins that wait: taken once, by their state, in time; and what a person pastes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.oauth import GrantRefused, PendingLogin
from shared.accounts.pending import PendingLogins, complete, login_page, read_answer, remove
from shared.runtime.errors import ClientError
from shared.settings.providers import ClaudeSettings, CodexSettings
from shared.settings.tree import Settings, load_settings
from tests.support.logins import claude_content, codex_content, content_of, put

# Begun tomorrow: a login of today would be too old by the time a long run of all tests comes here.
PENDING = replace(
    PendingLogin.begin("claude", "http://localhost:1/callback"), started_at=time.time() + 86_400
)


@pytest.fixture
def logins(tmp_path: Path) -> PendingLogins:
    return PendingLogins(tmp_path / "run")


def test_a_login_is_taken_once_by_its_state(logins: PendingLogins, tmp_path: Path) -> None:
    logins.add(PENDING)
    (kept,) = (tmp_path / "run/logins").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert PENDING.state not in kept.name
    assert logins.holds(PENDING.state)
    with pytest.raises(ClientError, match="No login waits"):
        logins.take("another")
    assert logins.take(PENDING.state) == PENDING
    with pytest.raises(ClientError, match="No login waits"):
        logins.take(PENDING.state)


def test_a_login_that_took_too_long_is_gone(logins: PendingLogins) -> None:
    logins.add(replace(PENDING, started_at=time.time() - 601))
    with pytest.raises(ClientError, match="ten minutes"):
        logins.take(PENDING.state)


def test_a_login_nobody_took_is_cleared_away_by_the_next(
    logins: PendingLogins, tmp_path: Path
) -> None:
    logins.add(PENDING)
    (kept,) = (tmp_path / "run/logins").iterdir()
    put(kept, {}, age=700)
    logins.add(PendingLogin.begin("claude", ""))
    assert not logins.holds(PENDING.state)


def test_a_login_given_up_is_forgotten(logins: PendingLogins) -> None:
    logins.add(PENDING)
    logins.forget(PENDING.state)
    logins.forget(PENDING.state)
    assert not logins.holds(PENDING.state)


@pytest.mark.parametrize(
    "text",
    [
        "the-code#the-state",
        " the-code#the-state\n",
        "http://localhost:1/callback?state=the-state&code=the-code",
    ],
)
def test_what_is_pasted_is_understood(text: str) -> None:
    assert read_answer(text) == ("the-code", "the-state")


@pytest.mark.parametrize(
    "text", ["", "the-code", "#state", "http://localhost/callback?code=c", "http://localhost/"]
)
def test_half_an_answer_is_refused(text: str) -> None:
    with pytest.raises(ClientError, match="paste the whole"):
        read_answer(text)


def test_a_provider_s_no_is_told_in_its_words() -> None:
    with pytest.raises(ClientError, match="The owner said no"):
        read_answer(
            "http://localhost/?error=access_denied&error_description=The+owner+said+no&state=s"
        )


def settings_for(url: str, path: Path) -> Settings:
    oauth = {"token_url": f"{url}/v1/oauth/token"}
    return load_settings(claude={"credentials_file": str(path), "oauth": oauth, "base_url": url})


async def test_a_refused_code_leaves_the_login_that_was_there(
    tmp_path: Path, simulator_url: str
) -> None:
    path = put(tmp_path / "login.json", claude_content(3600))
    before = content_of(path)
    with pytest.raises(GrantRefused, match="invalid_grant"):
        await complete(settings_for(simulator_url, path), PENDING, "made-up")
    assert content_of(path) == before


async def test_a_place_that_cannot_be_written_is_told_before_the_code_is_spent(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClientError, match="cannot be stored"):
        await complete(
            settings_for("http://127.0.0.1:9", tmp_path / "file/login.json"), PENDING, "code"
        )


async def test_logging_out_takes_the_login_and_leaves_the_rest(tmp_path: Path) -> None:
    issuer = ClaudeIssuer(ClaudeSettings())
    path = put(tmp_path / "claude.json", claude_content())
    assert await remove(issuer, path)
    assert list(content_of(path)) == ["mcpOAuth"]
    assert not await remove(issuer, path)


async def test_logging_out_takes_a_file_that_held_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path / "auth.json", json.loads(json.dumps(codex_content())))
    assert await remove(CodexIssuer(CodexSettings()), path)
    assert content_of(path) is None


def test_a_page_escapes_what_it_shows() -> None:
    assert "<b>" not in login_page("<b>title", "<b>text")
