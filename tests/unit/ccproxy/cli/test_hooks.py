"""`ccproxy hooks`: the change is shown before it is written, and taken back without a trace."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.exits import DONE, USAGE
from ccproxy.cli.hook_access import access_file, read_access
from ccproxy.cli.hooks import install_hooks, show_hooks, uninstall_hooks
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.launcher.stacks import RunningStack, keep_listed, start_time
from shared.accounts.tokens import StoredToken, TokenFile
from shared.settings.tree import load_settings

MINE: dict[str, Any] = {
    "model": "opus",
    "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with settings of Claude Code, and an owner's configuration with a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("SECURITY__TOKENS_FILE", str(tmp_path / "tokens.json"))
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/settings.json").write_text(json.dumps(MINE))
    (tmp_path / "config/ccproxy").mkdir(parents=True)
    (tmp_path / "config/ccproxy/config.toml").write_text(
        '[security]\nauth_token = "the-owners-token"\n'
    )
    return tmp_path


def claude_settings(home: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((home / ".claude/settings.json").read_text())
    return settings


def named_tokens() -> list[StoredToken]:
    return TokenFile(load_settings().security.tokens_file).read()


def test_nothing_is_written_without_consent(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    config = (home / "config/ccproxy/config.toml").read_text()
    assert install_hooks("claude", None, yes=False) == USAGE
    shown = capsys.readouterr()
    assert "+" in shown.out
    assert "--yes" in shown.err
    assert claude_settings(home) == MINE
    assert (home / "config/ccproxy/config.toml").read_text() == config


def test_claude_gets_an_address_and_a_token_that_only_asks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install_hooks("claude", None, yes=True) == DONE
    (stored,) = named_tokens()
    access = read_access("claude")
    assert access is not None
    secret = access.token
    assert (stored.name, stored.scopes) == ("hooks-claude", ("ask",))
    hooks = claude_settings(home)["hooks"]
    (group,) = hooks["PermissionRequest"]
    assert group["hooks"][0]["headers"]["x-api-key"] == secret
    assert hooks["Stop"][0] == MINE["hooks"]["Stop"][0]
    assert (home / ".claude/settings.json").stat().st_mode & 0o777 == 0o600
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err
    assert "before-ccproxy" in shown.err
    # In a project too, the token is reused and not shown.
    install_hooks("claude", home / "p", yes=True)
    assert secret not in capsys.readouterr().out
    # Again: nothing changes, and no second token is made.
    before = claude_settings(home)
    install_hooks("claude", None, yes=True)
    assert claude_settings(home) == before
    assert capsys.readouterr().out == ""


def test_codex_gets_a_command_and_its_access_stays_with_us(home: Path) -> None:
    assert install_hooks("codex", None, yes=True) == DONE
    text = (home / ".codex/hooks.json").read_text()
    access = read_access("codex")
    assert access is not None
    assert access.token
    assert access.token not in text
    assert "hook codex" in text


@pytest.mark.usefixtures("home")
def test_a_stack_elsewhere_is_given_by_address_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN_URL, "https://home.example/")
    monkeypatch.delenv(CHOSEN_TOKEN, raising=False)
    assert install_hooks("codex", None, yes=True) == USAGE
    monkeypatch.setenv(CHOSEN_TOKEN, "token-from-home")
    assert install_hooks("codex", None, yes=True) == DONE
    access = read_access("codex")
    assert access is not None
    assert (access.url, access.token) == ("https://home.example", "token-from-home")
    assert named_tokens() == []


def test_a_given_token_is_used_with_a_stack_of_this_machine_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOSEN_TOKEN, "token-of-mine")
    assert install_hooks("claude", None, yes=True) == DONE
    access = read_access("claude")
    assert access is not None
    assert access.token == "token-of-mine"
    assert named_tokens() == []


def test_uninstalling_revokes_the_token_where_it_was_made(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = os.getpid()
    of_stack = home / "stack-tokens.json"
    stack = RunningStack(
        "http://127.0.0.1:1",
        pid,
        start_time(pid),
        str(home / "its-run"),
        "demo",
        "t",
        str(of_stack),
    )
    # The settings name no place of a stack, so the stack that runs is in front.
    monkeypatch.delenv("SERVER__RUN_DIR")
    with keep_listed(stack, home / "state/ccproxy/stacks"):
        assert install_hooks("claude", None, yes=True) == DONE
        assert [token.name for token in TokenFile(of_stack).read()] == ["hooks-claude"]
        monkeypatch.setenv("SERVER__RUN_DIR", str(home / "run"))
        assert uninstall_hooks("claude", None, yes=True) == DONE
    assert TokenFile(of_stack).read() == []
    assert "revoked" in capsys.readouterr().err


def test_uninstalling_names_the_stack_that_still_knows_the_token(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CHOSEN_URL, "https://home.example/")
    monkeypatch.setenv(CHOSEN_TOKEN, "token-from-home")
    assert install_hooks("codex", None, yes=True) == DONE
    assert uninstall_hooks("codex", None, yes=True) == DONE
    assert "stays valid at https://home.example" in capsys.readouterr().err


def test_uninstalling_takes_back_all_of_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for agent in ("claude", "codex"):
        install_hooks(agent, None, yes=True)
        assert uninstall_hooks(agent, None, yes=True) == DONE
    assert claude_settings(home) == MINE
    assert not access_file("codex").exists()
    assert named_tokens() == []
    capsys.readouterr()
    assert uninstall_hooks("claude", None, yes=True) == DONE
    assert "has no hooks" in capsys.readouterr().err


def test_a_project_has_hooks_of_its_own(home: Path) -> None:
    project = home / "p"
    install_hooks("claude", project, yes=True)
    assert claude_settings(home) == MINE
    assert "PermissionRequest" in (project / ".claude/settings.local.json").read_text()
    uninstall_hooks("claude", project, yes=True)
    assert named_tokens() != []


@pytest.mark.usefixtures("home")
def test_the_status_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_hooks(None) == DONE
    assert "hooks install codex" in capsys.readouterr().out
