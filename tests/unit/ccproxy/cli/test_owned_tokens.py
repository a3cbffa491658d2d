"""Named tokens as their owner makes, replaces and revokes them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ccproxy.cli.owned_tokens import (
    OwnedTokens,
    TokenRefused,
    checked_token,
    lives,
    tokens_in_front,
)
from ccproxy.cli.stack_options import CHOSEN_URL
from ccproxy.launcher.stacks import start_time
from shared.accounts.tokens import TokenFile, token_digest
from shared.settings.security import STORED_PREFIX
from shared.settings.tree import load_settings


@pytest.fixture
def owned(tmp_path: Path) -> OwnedTokens:
    return OwnedTokens(TokenFile(tmp_path / "tokens.json"))


def names(owned: OwnedTokens) -> list[str]:
    return [token.name for token in owned.file.read()]


def test_a_token_is_random_and_kept_as_its_hash(owned: OwnedTokens) -> None:
    first = owned.add(checked_token({"name": "aider"}))
    second = owned.add(checked_token({"name": "phone"}))
    assert first.startswith(STORED_PREFIX)
    assert first != second
    assert [token.sha256 for token in owned.file.read()] == [
        token_digest(first),
        token_digest(second),
    ]
    assert owned.kept("aider") is None


def test_a_name_in_use_is_refused_with_the_way_to_replace_it(owned: OwnedTokens) -> None:
    owned.add(checked_token({"name": "aider"}))
    with pytest.raises(TokenRefused, match="ccproxy token rotate aider"):
        owned.add(checked_token({"name": "aider"}))


def test_a_rotated_token_has_another_secret_and_the_same_limits(owned: OwnedTokens) -> None:
    first = owned.add(checked_token({"name": "aider", "models": ["a*"]}), keep=True)
    second = owned.rotate("aider")
    [token] = owned.file.read()
    assert (token.sha256, token.models) == (token_digest(second), ("a*",))
    assert second != first
    assert owned.kept("aider") == second


def test_an_expired_token_is_rotated_only_with_a_new_end(owned: OwnedTokens) -> None:
    owned.add(checked_token({"name": "aider", "expires_at": 1.0}))
    with pytest.raises(TokenRefused, match="--expires"):
        owned.rotate("aider")
    owned.rotate("aider", 1e12)
    assert owned.file.read()[0].expires_at == 1e12


def test_a_revoked_token_is_gone_with_its_kept_copy(owned: OwnedTokens) -> None:
    owned.add(checked_token({"name": "aider"}), keep=True)
    assert stat.S_IMODE(owned.kept_at("aider").stat().st_mode) == 0o600
    owned.revoke("aider")
    assert names(owned) == []
    assert owned.kept("aider") is None
    with pytest.raises(TokenRefused, match=r"There is no token 'aider'. There are: none"):
        owned.revoke("aider")


@pytest.mark.parametrize("name", ["../secret", "a/b", ""])
def test_no_file_outside_the_tokens_is_read(owned: OwnedTokens, name: str) -> None:
    with pytest.raises(TokenRefused, match="is no name of a token"):
        owned.kept(name)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"name": "a b"}, "no name of a token"),
        ({"name": "owner"}, "a name of the server's own"),
        ({"name": "x", "scopes": ["all"]}, "'use'"),
        ({"name": "x", "routes": ["web"]}, "'codex'"),
    ],
)
def test_a_wrong_fact_is_refused_in_a_sentence(facts: dict[str, object], why: str) -> None:
    with pytest.raises(TokenRefused, match=why):
        checked_token(facts)


def test_a_token_of_one_run_ends_with_it(owned: OwnedTokens) -> None:
    with owned.made_for("run-claude", ("use",)) as first:
        with owned.made_for("run-claude", ("use", "agent")) as second:
            assert names(owned) == ["run-claude", "run-claude-2"]
            assert first != second
        assert names(owned) == ["run-claude"]
    assert names(owned) == []


def test_a_token_of_a_killed_run_is_removed_by_the_next_change(owned: OwnedTokens) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with owned.file.changing() as tokens:
        tokens.append(checked_token({"name": "run-claude", "process": f"{ended.pid} 1"}))
    owned.add(checked_token({"name": "aider"}))
    assert names(owned) == ["aider"]


def test_a_process_lives_by_its_pid_and_its_start() -> None:
    pid = os.getpid()
    assert lives(f"{pid} {start_time(pid)}")
    assert not lives(f"{pid} 1")
    assert not lives("text")


def test_the_tokens_of_a_stack_elsewhere_are_made_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("SECURITY__TOKENS_FILE", str(tmp_path / "tokens.json"))
    assert tokens_in_front(load_settings()).file.path == tmp_path / "tokens.json"
    monkeypatch.setenv(CHOSEN_URL, "https://home.example")
    with pytest.raises(TokenRefused, match="made where it runs"):
        tokens_in_front(load_settings())
