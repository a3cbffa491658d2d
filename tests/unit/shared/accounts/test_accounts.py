"""The order in which an account's credentials are used."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.settings.providers import ClaudeSettings, CodexSettings
from tests.support.logins import codex_content, put


async def test_an_api_key_goes_before_a_lasting_token_and_both_before_a_login() -> None:
    environ = {"HOME": "/nowhere"}
    lasting = SecretStr("sk-ant-oat01-lasting")
    both = ClaudeSettings(api_key=SecretStr("sk-ant-api03-k"), oauth_token=lasting)
    key = await ClaudeAccount(both, environ).authorize()
    assert (dict(key.headers), key.billed_to) == ({"x-api-key": "sk-ant-api03-k"}, "api_key")
    token = await ClaudeAccount(ClaudeSettings(oauth_token=lasting), environ).authorize()
    assert (token.billed_to, token.source) == ("subscription", "CLAUDE_CODE_OAUTH_TOKEN")
    assert token.headers["authorization"] == "Bearer sk-ant-oat01-lasting"


async def test_a_configured_key_goes_first(tmp_path: Path) -> None:
    path = put(tmp_path / "auth.json", codex_content(3600))
    used = await CodexAccount(CodexSettings(auth_file=path, api_key="sk-set")).authorize()  # type: ignore[arg-type]
    assert (dict(used.headers), used.source) == (
        {"authorization": "Bearer sk-set"},
        "CODEX__API_KEY",
    )
