"""The access of hooks is a file of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.agent_hooks import HookAccess
from ccproxy.cli.hook_access import access_file, read_access, write_access
from shared.settings.problems import ConfigurationError


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_an_access_is_kept_for_its_owner_alone() -> None:
    assert read_access("codex") is None
    access = HookAccess("http://127.0.0.1:8000", "t", "laptop")
    write_access("codex", access)
    assert read_access("codex") == access
    assert access_file("codex").stat().st_mode & 0o777 == 0o600
    assert read_access("claude") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"url": "x"}'])
def test_an_unreadable_access_is_named(text: str) -> None:
    access_file("codex").parent.mkdir(parents=True)
    access_file("codex").write_text(text)
    with pytest.raises(ConfigurationError, match=r"codex\.json"):
        read_access("codex")
