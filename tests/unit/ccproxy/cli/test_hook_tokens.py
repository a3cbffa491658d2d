"""The token of hooks: one of the stack's named tokens, and it can only ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.agent_hooks import HookAccess
from ccproxy.cli.hook_access import access_file, write_access
from ccproxy.cli.hook_tokens import forget_token, known_token, make_token
from shared.accounts.tokens import StoredToken, TokenFile, token_digest

NOW = 1_700_000_000.0


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFile:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return TokenFile(tmp_path / "tokens.json")


def install(tokens: TokenFile) -> str:
    token = make_token("claude", tokens, NOW)
    write_access("claude", HookAccess("http://127.0.0.1:8000", token, "laptop"))
    return token


def test_a_token_can_only_ask_and_is_used_again(tokens: TokenFile) -> None:
    assert known_token("claude", tokens) is None
    token = install(tokens)
    (stored,) = tokens.read()
    assert (stored.name, stored.scopes, stored.sha256) == (
        "hooks-claude",
        ("ask",),
        token_digest(token),
    )
    assert token not in tokens.path.read_text()
    assert known_token("claude", tokens) == token
    assert known_token("codex", tokens) is None


def test_a_token_that_the_stack_forgot_or_that_can_do_more_is_made_anew(tokens: TokenFile) -> None:
    token = install(tokens)
    with tokens.changing() as known:
        known[0] = known[0].model_copy(update={"scopes": ("ask", "approve")})
    assert known_token("claude", tokens) is None
    with tokens.changing() as known:
        known[0] = known[0].model_copy(update={"scopes": ("ask",), "expires_at": NOW})
    assert known_token("claude", tokens) is None
    assert make_token("claude", tokens, NOW) != token
    assert len(tokens.read()) == 1


def test_a_token_is_removed_and_others_stay(tokens: TokenFile) -> None:
    with tokens.changing() as known:
        known.append(StoredToken(name="phone", sha256=token_digest("x")))
    install(tokens)
    assert forget_token("claude", tokens)
    assert not access_file("claude").exists()
    assert not forget_token("claude", tokens)
    assert [stored.name for stored in tokens.read()] == ["phone"]
