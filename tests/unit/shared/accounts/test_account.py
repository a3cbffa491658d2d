"""What a request is sent with, and what is said of it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from shared.accounts.account import Account, describe_login
from shared.accounts.accounts import ClaudeAccount
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.keychain import Keychain
from shared.accounts.login import Authorization, account_digest
from shared.accounts.refresher import Refresher
from shared.accounts.store import CredentialFile
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import CredentialsExpired, CredentialsMissing, UpstreamError
from shared.settings.providers import ClaudeOAuthSettings, ClaudeSettings
from tests.support.logins import OLD, claude_content, claude_login, put, read_only

NOBODY = "http://127.0.0.1:9/v1/oauth/token"


def account(home: Path, token_url: str = NOBODY, **settings: object) -> ClaudeAccount:
    known = ClaudeSettings(oauth=ClaudeOAuthSettings(token_url=token_url), **settings)  # type: ignore[arg-type]
    return ClaudeAccount(known, {"HOME": str(home)})


@pytest.fixture
def token_url(simulator_url: str) -> str:
    return f"{simulator_url}/v1/oauth/token"


@pytest.fixture
def login(tmp_path: Path) -> Path:
    return tmp_path / ".claude/.credentials.json"


async def test_a_living_login_is_used_without_asking_anybody(tmp_path: Path, login: Path) -> None:
    put(login, claude_content(3600))
    async with account(tmp_path) as known:
        authorization = await known.authorize()
    assert authorization == Authorization(
        {"authorization": f"Bearer {OLD}"}, "subscription", str(login), account_digest(str(login))
    )
    assert OLD not in repr(authorization)


async def test_a_login_about_to_expire_serves_while_it_is_renewed(
    tmp_path: Path, login: Path, token_url: str
) -> None:
    put(login, claude_content(100, "sk-ant-ort01-early"))
    async with account(tmp_path, token_url) as known:
        assert (await known.authorize()).headers["authorization"] == f"Bearer {OLD}"
    assert claude_login(login)["accessToken"] != OLD  # closing the account waited for it


async def test_an_expired_login_is_renewed_first(
    tmp_path: Path, login: Path, token_url: str
) -> None:
    put(login, claude_content(-10, "sk-ant-ort01-late"))
    async with account(tmp_path, token_url) as known:
        used = (await known.authorize()).headers["authorization"]
    assert used == f"Bearer {claude_login(login)['accessToken']}" != f"Bearer {OLD}"


async def test_a_read_only_login_serves_until_it_expires_and_then_says_why(
    tmp_path: Path, login: Path
) -> None:
    read_only(put(login, claude_content(100)))
    async with account(tmp_path) as known:
        assert (await known.authorize()).headers["authorization"] == f"Bearer {OLD}"
        state = await known.describe()
        assert (state.status, state.renewable) == ("warn", False)
        read_only(put(login, claude_content(-1)))
        with pytest.raises(CredentialsExpired, match="read-only"):
            await known.renew()
        with pytest.raises(CredentialsExpired, match="read-only"):
            await known.authorize()
        state = await known.describe()
        assert state.status == "fail"
        assert "mount its directory" in state.output


async def test_the_state_of_a_login_names_how_it_gets_its_successor(
    tmp_path: Path, login: Path
) -> None:
    async def renewal() -> str | None:
        async with account(tmp_path) as known:
            return (await known.describe()).renewal

    put(login, claude_content(3600))
    assert await renewal() == "ours"
    put(login, claude_content(3600, refresh=""))
    assert await renewal() == "none"
    read_only(put(login, claude_content(3600)))
    assert await renewal() == "others"
    async with account(tmp_path, api_key="sk-ant-api03-x") as known:
        assert (await known.describe()).renewal is None


async def test_a_login_serves_while_the_token_server_is_away_and_then_the_error_is_the_server_s(
    tmp_path: Path, login: Path
) -> None:
    put(login, claude_content(100))
    async with account(tmp_path) as known:
        await known.authorize()
        await asyncio.wait(
            [refresher._running for refresher in known._refreshers if refresher._running]
        )
        assert "cannot be reached" in (await known.describe()).output
        put(login, claude_content(-1))
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await known.renew()


async def test_a_login_that_cannot_live_gives_way_to_the_next_that_does(
    tmp_path: Path, login: Path
) -> None:
    put(login, claude_content(-10, refresh=""))
    second = put(
        tmp_path / ".config/claude/.credentials.json",
        claude_content(3600, token="sk-ant-oat01-second"),
    )
    async with account(tmp_path) as known:
        assert (await known.authorize()).source == str(second)


async def test_an_early_401_renews_once(tmp_path: Path, login: Path, token_url: str) -> None:
    put(login, claude_content(3600, "sk-ant-ort01-early-401"))
    async with account(tmp_path, token_url) as known:
        refused = await known.authorize()
        renewed = await known.on_unauthorized(refused)
        assert renewed is not None
        assert renewed.headers["authorization"] == f"Bearer {claude_login(login)['accessToken']}"
        assert (
            await known.on_unauthorized(refused) == renewed
        )  # the next one who comes with the old token
        assert (
            await known.on_unauthorized(renewed) is None
        )  # a token this young is not cured by another


async def test_after_a_401_a_login_of_another_program_is_taken(tmp_path: Path, login: Path) -> None:
    put(login, claude_content(3600))
    async with account(tmp_path) as known:
        refused = await known.authorize()
        put(login, claude_content(3600, token="sk-ant-oat01-theirs"))
        renewed = await known.on_unauthorized(refused)
    assert renewed is not None
    assert renewed.headers["authorization"] == "Bearer sk-ant-oat01-theirs"


async def test_a_configured_credential_is_never_renewed(tmp_path: Path, login: Path) -> None:
    put(login, claude_content(3600))
    async with account(tmp_path, api_key="sk-ant-api03-x") as known:
        used = await known.authorize()
        assert used.billed_to == "api_key"
        assert await known.on_unauthorized(used) is None
        assert (await known.renew()).source == "CLAUDE__API_KEY"
        assert await known.login() is None


async def test_without_any_credential_every_place_is_named(tmp_path: Path) -> None:
    async with account(tmp_path) as known:
        with pytest.raises(CredentialsMissing, match=r"does not exist; .*ccproxy auth login"):
            await known.authorize()
        assert (await known.describe()).status == "warn"


async def test_a_login_that_is_just_being_written_is_waited_for(
    tmp_path: Path, login: Path
) -> None:
    put(login, {})
    os.truncate(login, 1)
    async with account(tmp_path) as known:
        asked = asyncio.create_task(known.authorize())
        await asyncio.sleep(0)
        put(login, claude_content(3600, token="sk-ant-oat01-whole"))
        authorization = await asyncio.wait_for(asked, 5)
    assert authorization.headers["authorization"] == "Bearer sk-ant-oat01-whole"


async def test_the_keychain_is_asked_only_when_no_file_serves(tmp_path: Path, login: Path) -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return '{"claudeAiOauth":{"accessToken":"sk-ant-oat01-keychain","expiresAt":0}}'

    put(login, claude_content(3600))
    issuer = ClaudeIssuer(ClaudeSettings(), {"HOME": str(tmp_path)})
    async with Account(issuer, None, Keychain(ask)) as known:
        await known.authorize()
        assert not asked
        put(login, {})
        assert (await known.describe()).source.startswith("keychain:")
        assert (await known.authorize()).headers["authorization"] == "Bearer sk-ant-oat01-keychain"
        assert len(asked) == 1


def describe(path: Path, skew: float = 0.0) -> tuple[str, str]:
    refresher = Refresher(
        ClaudeIssuer(ClaudeSettings(credentials_file=path)), CredentialFile(path), TokenServer()
    )
    login = refresher.login()
    assert login is not None
    state = describe_login(login, refresher, skew, time.time())
    assert OLD not in repr(state)
    return state.status, state.output


def test_a_good_login_is_told_with_its_plan_its_place_and_its_end(login: Path) -> None:
    status, output = describe(put(login, claude_content(3600)))
    assert status == "pass"
    assert output.startswith(f"max login from {login}, valid until 20")


def test_an_expired_login_that_will_be_renewed_is_no_trouble(login: Path) -> None:
    status, output = describe(put(login, claude_content(-10)))
    assert status == "pass"
    assert output.endswith("the next request renews it")


def test_a_zeroed_expiry_is_told_and_serves(login: Path) -> None:
    content = claude_content()
    content["claudeAiOauth"]["expiresAt"] = 0
    status, output = describe(put(login, content))
    assert status == "warn"
    assert "without a date of expiry" in output


def test_a_lasting_token_is_no_trouble(login: Path) -> None:
    assert describe(put(login, {"claudeAiOauth": {"accessToken": OLD}}))[0] == "pass"


@pytest.mark.parametrize(("skew", "word"), [(3600, "behind"), (-3600, "ahead")])
def test_a_wrong_clock_is_told(login: Path, skew: float, word: str) -> None:
    status, output = describe(put(login, claude_content(3600)), skew)
    assert status == "warn"
    assert word in output
