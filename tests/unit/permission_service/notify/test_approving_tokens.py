"""A subscribed browser stands for a token that may answer, and ends with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from permission_service.notify.approving_tokens import ApprovingTokens, snapshot_path
from shared.accounts.tokens import token_digest
from shared.settings.problems import ConfigurationError
from shared.settings.security import SecuritySettings

NOW = 1_700_000_000.0


def security(tmp_path: Path, **given: Any) -> SecuritySettings:
    return SecuritySettings.model_validate({"tokens_file": tmp_path / "tokens.json"} | given)


def store(tmp_path: Path, *tokens: dict[str, Any]) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": tokens}))


def stored(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": token_digest(name), "scopes": ["approve"]} | more


def test_callers_without_a_token_are_allowed_while_none_is_required(tmp_path: Path) -> None:
    assert ApprovingTokens(security(tmp_path)).allows("", NOW)
    assert not ApprovingTokens(security(tmp_path, auth_token="o" * 20)).allows("", NOW)
    named = [{"name": "x", "token": "x" * 20}]
    assert not ApprovingTokens(security(tmp_path, tokens=named)).allows("", NOW)


def test_tokens_of_the_settings_need_the_scope_approve(tmp_path: Path) -> None:
    tokens = [
        {"name": "phone", "token": "p" * 20, "scopes": ["approve"]},
        {"name": "tool", "token": "t" * 20, "scopes": ["use", "ask"]},
    ]
    known = ApprovingTokens(security(tmp_path, auth_token="o" * 20, tokens=tokens))
    allowed = [known.allows(token_digest(each * 20), NOW) for each in "opt"]
    assert allowed == [True, True, False]
    assert not known.allows(token_digest("unknown"), NOW)


def test_a_stored_token_is_followed_while_the_service_runs(tmp_path: Path) -> None:
    known = ApprovingTokens(security(tmp_path, auth_token="o" * 20))
    digest = token_digest("phone")
    assert not known.allows(digest, NOW)
    store(tmp_path, stored("phone"), stored("old", expires_at=NOW), stored("tool", scopes=["use"]))
    assert known.allows(digest, NOW)
    assert not known.allows(token_digest("old"), NOW)
    assert not known.allows(token_digest("tool"), NOW)


def test_reloaded_settings_are_read_again_and_unusable_ones_change_nothing(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text("1")
    answers: list[SecuritySettings | ConfigurationError] = []

    def reread() -> SecuritySettings:
        found = answers.pop()
        if isinstance(found, ConfigurationError):
            raise found
        return found

    known = ApprovingTokens(security(tmp_path, auth_token="o" * 20), reread, snapshot)
    before, after = token_digest("o" * 20), token_digest("n" * 20)
    assert known.allows(before, NOW)
    answers.append(ConfigurationError("broken"))
    snapshot.write_text("22")
    assert known.allows(before, NOW)
    answers.append(security(tmp_path, auth_token="n" * 20))
    snapshot.write_text("333")
    assert (known.allows(before, NOW), known.allows(after, NOW)) == (False, True)
    assert answers == []


def test_a_process_without_a_launcher_has_no_snapshot(monkeypatch: Any) -> None:
    monkeypatch.delenv("CCPROXY_SETTINGS_SNAPSHOT", raising=False)
    assert snapshot_path() is None
    monkeypatch.setenv("CCPROXY_SETTINGS_SNAPSHOT", "/run/x.json")
    assert snapshot_path() == Path("/run/x.json")
