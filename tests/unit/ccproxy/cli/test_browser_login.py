"""The loopback address a browser returns to; the whole login is in
tests/contract/test_logins.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ccproxy.cli.browser_login import Callback, LoginAttempt
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.oauth import GrantRefused, PendingLogin
from shared.runtime.errors import ClientError
from shared.settings.providers import ClaudeSettings, CodexOAuthSettings, CodexSettings
from shared.settings.tree import load_settings


@pytest.fixture
async def callback(
    tmp_path: Path, simulator_url: str
) -> AsyncIterator[tuple[Callback, LoginAttempt]]:
    oauth = {"token_url": f"{simulator_url}/v1/oauth/token"}
    settings = load_settings(
        server={"run_dir": str(tmp_path / "run")},
        claude={"credentials_file": str(tmp_path / "login"), "oauth": oauth},
    )
    async with Callback(ClaudeIssuer(ClaudeSettings())) as opened:
        attempt = LoginAttempt(settings, PendingLogin.begin("claude", opened.address))
        attempt.logins.add(attempt.pending)
        opened.serve(attempt)
        yield opened, attempt
        attempt.done.cancel()


async def visit(address: str, path: str = "", method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as browser:
        return await browser.request(method, address + path)


async def test_only_the_redirect_address_is_served(callback: tuple[Callback, LoginAttempt]) -> None:
    opened, attempt = callback
    assert (await visit(opened.address.replace("/callback", "/favicon.ico"))).status_code == 404
    assert (await visit(opened.address, "?code=c&state=s", "POST")).status_code == 404
    assert not attempt.done.done()


@pytest.mark.parametrize("query", ["", "?code=c", "?code=c&state=of-another"])
async def test_an_answer_of_another_login_changes_nothing(
    callback: tuple[Callback, LoginAttempt], query: str
) -> None:
    opened, attempt = callback
    assert (await visit(opened.address, query)).status_code == 400
    assert attempt.logins.holds(attempt.pending.state)
    assert not attempt.done.done()


async def test_what_the_provider_says_is_escaped(callback: tuple[Callback, LoginAttempt]) -> None:
    page = await visit(callback[0].address, "?error=e&error_description=%3Cscript%3E")
    assert page.status_code == 400
    assert "&lt;script&gt;" in page.text


async def test_a_refused_code_is_shown_and_ends_the_login(
    callback: tuple[Callback, LoginAttempt],
) -> None:
    opened, attempt = callback
    page = await visit(opened.address, f"?code=made-up&state={attempt.pending.state}")
    assert page.status_code == 400
    assert "invalid_grant" in page.text
    with pytest.raises(GrantRefused):
        await attempt.done


async def test_an_attempt_can_be_finished_once(callback: tuple[Callback, LoginAttempt]) -> None:
    _, attempt = callback
    with pytest.raises(GrantRefused):
        await attempt.finish(f"made-up#{attempt.pending.state}")
    with pytest.raises(ClientError, match="No login waits"):
        await attempt.finish(f"made-up#{attempt.pending.state}")
    assert isinstance(attempt.done.exception(), GrantRefused)


async def test_an_address_somebody_else_listens_at_is_no_failure(
    callback: tuple[Callback, LoginAttempt],
) -> None:
    taken = httpx.URL(callback[0].address).port
    assert taken is not None
    issuer = CodexIssuer(CodexSettings(oauth=CodexOAuthSettings(callback_port=taken)))
    async with Callback(issuer) as second:
        assert not second.listening
        assert second.address == f"http://127.0.0.1:{taken}/auth/callback"
