"""One login file's renewal: when it is tried, what it adopts, what it never destroys, and what it
says.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from shared.accounts.account import renewal_of
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.login import Login
from shared.accounts.oauth import AskTokenServer, GrantRefused
from shared.accounts.refresher import Refresher
from shared.accounts.store import CredentialFile, LoginDraft
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import CredentialsExpired, Stopping, UpstreamError
from shared.settings.providers import ClaudeSettings
from tests.support.logins import (
    OTHER_KEYS,
    claude_content,
    claude_login,
    content_of,
    put,
    read_only,
)

REPLY = {
    "access_token": "sk-ant-oat01-new",
    "refresh_token": "sk-ant-ort01-new",
    "expires_in": 3600,
}


class ScriptedServer(TokenServer):
    """Answers with `reply`, or raises it; `meanwhile` happens while it is asked."""

    def __init__(self, reply: Any = REPLY, meanwhile: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.reply = reply
        self.meanwhile = meanwhile
        self.asked: list[AskTokenServer] = []

    async def ask(self, url: str, ask: AskTokenServer) -> dict[str, Any]:
        self.asked.append(ask)
        await asyncio.sleep(0)
        self.meanwhile()
        if isinstance(self.reply, Exception):
            raise self.reply
        return dict(self.reply)


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return put(tmp_path / "login.json", claude_content())


def refresher(path: Path, server: TokenServer, now: Callable[[], float] = time.time) -> Refresher:
    return Refresher(
        ClaudeIssuer(ClaudeSettings(credentials_file=path)), CredentialFile(path), server, now
    )


def current(known: Refresher) -> Login:
    login = known.login(fresh=True)
    assert login is not None
    return login


async def test_a_renewed_login_is_in_the_file_with_everything_else_kept(path: Path) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    renewed = await known.renew(current(known))
    assert renewed.access_token == "sk-ant-oat01-new"
    content = content_of(path)
    assert content["mcpOAuth"] == OTHER_KEYS["mcpOAuth"]
    assert content["claudeAiOauth"]["rateLimitTier"] == "default_claude_max_20x"
    assert content["claudeAiOauth"]["refreshToken"] == "sk-ant-ort01-new"
    assert server.asked[0].fields["refresh_token"] == "sk-ant-ort01-made-up"


async def test_all_who_wait_get_the_same_renewal(path: Path) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    stale = current(known)
    renewed = await asyncio.gather(*(known.renew(stale) for _ in range(50)))
    assert {login.access_token for login in renewed} == {"sk-ant-oat01-new"}
    assert len(server.asked) == 1


async def test_a_waiter_that_leaves_does_not_end_the_renewal(path: Path) -> None:
    known = refresher(path, ScriptedServer())
    waiter = asyncio.create_task(known.renew(current(known)))
    await asyncio.sleep(0)
    waiter.cancel()
    await known.finish()
    assert claude_login(path)["accessToken"] == "sk-ant-oat01-new"


async def test_a_login_written_during_the_exchange_is_not_overwritten(path: Path) -> None:
    newer = claude_content(3600, "sk-ant-ort01-of-a-login", "sk-ant-oat01-of-a-login")
    known = refresher(path, ScriptedServer(meanwhile=lambda: put(path, newer)))
    assert (await known.renew(current(known))).access_token == "sk-ant-oat01-of-a-login"
    assert content_of(path) == newer


async def test_other_keys_written_during_the_exchange_are_kept(path: Path) -> None:
    changed = claude_content() | {"mcpOAuth": "changed"}
    known = refresher(path, ScriptedServer(meanwhile=lambda: put(path, changed)))
    await known.renew(current(known))
    assert content_of(path)["mcpOAuth"] == "changed"
    assert claude_login(path)["accessToken"] == "sk-ant-oat01-new"


async def test_a_login_removed_during_the_exchange_stays_removed(path: Path) -> None:
    known = refresher(path, ScriptedServer(meanwhile=path.unlink))
    with pytest.raises(CredentialsExpired, match="was removed"):
        await known.renew(current(known))
    assert content_of(path) is None


async def test_a_refusal_is_asked_once_destroys_nothing_and_says_what_to_do(path: Path) -> None:
    before = content_of(path)
    server = ScriptedServer(GrantRefused("refused: invalid_grant."))
    known = refresher(path, server)
    for _ in range(3):
        with pytest.raises(CredentialsExpired, match=r"invalid_grant.*ccproxy auth login"):
            await known.renew(current(known))
    assert len(server.asked) == 1
    assert content_of(path) == before
    put(path, claude_content(refresh="sk-ant-ort01-another"))
    server.reply = REPLY
    assert (await known.renew(current(known))).access_token == "sk-ant-oat01-new"


async def test_a_refusal_because_another_program_was_first_adopts_its_login(path: Path) -> None:
    newer = claude_content(3600, "sk-ant-ort01-theirs", "sk-ant-oat01-theirs")
    server = ScriptedServer(GrantRefused("refused"), meanwhile=lambda: put(path, newer))
    known = refresher(path, server)
    assert (await known.renew(current(known))).access_token == "sk-ant-oat01-theirs"


async def test_a_failing_server_is_asked_less_and_less_often(path: Path) -> None:
    clock, server = Clock(), ScriptedServer(UpstreamError("answered 503"))
    known = refresher(path, server, clock)
    pauses = []
    for _ in range(12):
        with pytest.raises(UpstreamError) as caught:
            await known.renew(current(known))
        pauses.append(int(caught.value.headers["retry-after"]))
        with pytest.raises(UpstreamError):  # too early: nobody is asked
            await known.renew(current(known))
        clock.ahead += pauses[-1] + 1
    assert len(server.asked) == 12
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_a_renewal_fails_once_it_has_failed_for_minutes_and_a_new_login_is_another(
    path: Path,
) -> None:
    clock, server = Clock(), ScriptedServer(UpstreamError("answered 503"))
    known = refresher(path, server, clock)
    seen = []
    for _ in range(8):
        with pytest.raises(UpstreamError):
            await known.renew(current(known))
        seen.append(renewal_of(current(known), known, ""))
        clock.ahead += 300
    assert seen == ["ours", *["failing"] * 7]
    server.reply = GrantRefused("refused")
    with pytest.raises(GrantRefused):
        await known.renew(current(known))
    assert renewal_of(current(known), known, "refused") == "refused"
    put(path, claude_content(-10, "sk-ant-ort01-of-a-new-login"))
    assert renewal_of(current(known), known, "") == "ours"


async def test_a_server_that_says_when_to_come_back_is_believed(path: Path) -> None:
    known = refresher(path, ScriptedServer(UpstreamError("busy", headers={"retry-after": "90"})))
    with pytest.raises(UpstreamError) as caught:
        await known.renew(current(known))
    assert caught.value.headers["retry-after"] == "90"


async def test_nothing_is_spent_that_could_not_be_stored(path: Path) -> None:
    read_only(path)
    server = ScriptedServer()
    known = refresher(path, server)
    with pytest.raises(CredentialsExpired, match=r"read-only.*CLAUDE_CODE_OAUTH_TOKEN"):
        await known.renew(current(known))
    assert not server.asked


async def test_a_full_disk_is_noticed_before_anything_is_spent(path: Path) -> None:
    class Full(LoginDraft):
        def reserve(self) -> None:
            raise OSError(28, "No space left on device")

    class FullDisk(CredentialFile):
        def draft(self, replaces: str) -> LoginDraft:
            return Full(self.path, self.path.with_name("draft"))

    server = ScriptedServer()
    known = Refresher(ClaudeIssuer(ClaudeSettings(credentials_file=path)), FullDisk(path), server)
    with pytest.raises(UpstreamError, match="No space left"):
        await known.renew(current(known))
    assert not server.asked


async def test_a_login_without_a_refresh_token_says_so(path: Path) -> None:
    put(path, claude_content(refresh=""))
    known = refresher(path, ScriptedServer())
    with pytest.raises(CredentialsExpired, match="no refresh token"):
        await known.renew(current(known))


async def test_what_a_dead_process_left_is_taken_over_at_the_start(path: Path) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    draft = known.file.draft(current(known).refresh_token)
    draft.reserve()
    draft.write(json.dumps(claude_content(3600, token="sk-ant-oat01-left")).encode())
    known.recover()
    assert current(known).access_token == "sk-ant-oat01-left"
    assert not server.asked


async def test_what_a_dead_process_left_meanwhile_is_taken_over_instead_of_asking_again(
    path: Path,
) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    known.recover()
    draft = known.file.draft(current(known).refresh_token)
    draft.reserve()
    draft.write(json.dumps(claude_content(3600, token="sk-ant-oat01-left")).encode())
    assert (await known.renew(current(known))).access_token == "sk-ant-oat01-left"
    assert not server.asked


async def test_what_was_written_while_the_lock_was_taken_is_adopted(path: Path) -> None:
    class JustReleased(CredentialFile):
        def try_lock(self) -> IO[bytes] | None:
            put(self.path, claude_content(3600, token="sk-ant-oat01-of-the-last-holder"))
            return super().try_lock()

    server = ScriptedServer()
    known = Refresher(
        ClaudeIssuer(ClaudeSettings(credentials_file=path)), JustReleased(path), server
    )
    assert (await known.renew(current(known))).access_token == "sk-ant-oat01-of-the-last-holder"
    assert not server.asked


async def test_renewing_soon_does_nothing_in_vain(path: Path) -> None:
    read_only(path)
    server = ScriptedServer()
    known = refresher(path, server)
    known.renew_soon(current(known))
    await known.finish()
    assert not server.asked


class HeldServer(ScriptedServer):
    """Answers once `answer` is set; `asking` is set when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asking, self.answer = asyncio.Event(), asyncio.Event()

    async def ask(self, url: str, ask: AskTokenServer) -> dict[str, Any]:
        self.asking.set()
        await self.answer.wait()
        return await super().ask(url, ask)


async def test_a_stop_waits_for_the_reply_of_a_renewal_and_stores_the_login(path: Path) -> None:
    server = HeldServer()
    known = refresher(path, server)
    known.renew_soon(current(known))
    await server.asking.wait()
    stopping = asyncio.create_task(known.finish())
    await asyncio.sleep(0)
    assert not stopping.done()
    server.answer.set()
    await stopping
    assert claude_login(path)["refreshToken"] == "sk-ant-ort01-new"


async def test_no_renewal_begins_once_the_process_stops(path: Path) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    await known.finish()
    known.renew_soon(current(known))
    with pytest.raises(Stopping):
        await known.renew(current(known))
    assert server.asked == []


async def test_a_renewal_that_waits_for_another_process_ends_at_a_stop(path: Path) -> None:
    server = ScriptedServer()
    known = refresher(path, server)
    lock = known.file.try_lock()
    assert lock is not None
    with lock:
        renewal = asyncio.create_task(known.renew(current(known)))
        await asyncio.sleep(0)
        await known.finish()
        with pytest.raises(Stopping):
            await renewal
    assert server.asked == []
