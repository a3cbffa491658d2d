"""Each gateway shares the logins that renewals concern, without a secret and without a path."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.metering.logins import SharedLogins
from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.login import LoginFacts, login_key
from shared.bus.channels import decode_payload
from shared.runtime.errors import BusUnavailable
from shared.settings.providers import ClaudeSettings, CodexSettings
from tests.support.logins import OLD, claude_content, put
from tests.unit.gateway.metering.test_quota import Shelf


def shared(shelf: Shelf, home: Path, **claude: object) -> SharedLogins:
    environ = {"HOME": str(home)}
    accounts = {
        "claude": ClaudeAccount(ClaudeSettings(**claude), environ, platform="linux"),  # type: ignore[arg-type]
        "codex": CodexAccount(CodexSettings(), environ),
    }
    return SharedLogins(shelf, "gateway-1", accounts)  # type: ignore[arg-type]


async def test_a_login_is_shared_with_its_end_and_an_absent_one_is_not(tmp_path: Path) -> None:
    shelf = Shelf()
    path = put(tmp_path / ".claude/.credentials.json", claude_content(3600, refresh=""))
    await shared(shelf, tmp_path).share()
    (data,) = shelf.kept.values()
    facts = decode_payload(LoginFacts, shelf.kept[login_key("claude", "gateway-1")])
    assert (facts.provider, facts.renewal, facts.expires_at > 0) == ("claude", "none", True)
    assert OLD.encode() not in data
    assert str(path).encode() not in data


async def test_a_key_of_the_settings_is_no_login(tmp_path: Path) -> None:
    shelf = Shelf()
    await shared(shelf, tmp_path, api_key="sk-ant-api03-x").share()
    assert shelf.kept == {}


async def test_the_task_shares_as_soon_as_it_is_open_and_survives_an_absent_redis(
    tmp_path: Path,
) -> None:
    shelf = Shelf()
    put(tmp_path / ".claude/.credentials.json", claude_content(3600))
    async with shared(shelf, tmp_path), asyncio.timeout(5):
        while not shelf.kept:  # noqa: ASYNC110 - the shelf tells nobody
            await asyncio.sleep(0)
    shelf.takes_nothing = True
    with pytest.raises(BusUnavailable):
        await shared(shelf, tmp_path).share()
    async with shared(shelf, tmp_path):
        await asyncio.sleep(0)
