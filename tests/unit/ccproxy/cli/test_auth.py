"""What the commands say and with which code they end; whole logins are in
tests/contract/test_logins.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ccproxy.cli.auth import app
from tests.support.logins import OLD, claude_content, codex_content, content_of, put, read_only


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new user's, with nobody behind the providers' addresses."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE__API_KEY",
        "CODEX__API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE__OAUTH__TOKEN_URL", "http://127.0.0.1:9/v1/oauth/token")
    monkeypatch.setenv("CLAUDE__BASE_URL", "http://127.0.0.1:9")
    return tmp_path


def login_file(home: Path) -> Path:
    return home / ".claude/.credentials.json"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_status_without_any_login_says_how_to_get_one(home: Path) -> None:
    result = run("status")
    assert result.exit_code == 1
    assert "ccproxy auth login`" in result.stdout
    assert "ccproxy auth login-openai" in result.stdout


def test_status_tells_every_routes_credential_in_a_line_and_no_secret(home: Path) -> None:
    put(login_file(home), claude_content(3600))
    put(home / ".codex/auth.json", codex_content(3600))
    result = run("status")
    assert result.exit_code == 0
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [
        ["/api", "ok"],
        ["/sdk", "ok"],
        ["/codex", "ok"],
    ]
    assert OLD not in result.stdout


def test_status_says_which_route_a_login_does_not_serve(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claude program reads a login file by its usual name only."""
    login = put(home / "mine.json", claude_content(3600))
    monkeypatch.setenv("CLAUDE__CREDENTIALS_FILE", str(login))
    result = run("status")
    assert result.exit_code == 0
    api, sdk, codex = (line.split("\t") for line in result.stdout.splitlines())
    assert (api[:2], sdk[:2], codex[0]) == (["/api", "ok"], ["/sdk", "wrong"], "/codex")
    assert f"rename {login}" in sdk[2]
    monkeypatch.setenv("SDK__WORKERS", "0")
    monkeypatch.setenv("CODEX__ENABLED", "false")
    assert [line.split("\t")[0] for line in run("status").stdout.splitlines()] == ["/api"]


def test_status_for_programs(home: Path) -> None:
    put(login_file(home), claude_content(3600))
    api, sdk, codex = json.loads(run("status", "--json").stdout)
    assert (api["route"], sdk["route"], codex["route"]) == ("/api", "/sdk", "/codex")
    assert (sdk["provider"], sdk["billed_to"], sdk["subscription"]) == (
        "claude",
        "subscription",
        "max",
    )
    assert sdk["expires_at"].endswith("+00:00")
    assert codex["source"] == ""


def test_a_login_that_cannot_serve_is_not_valid_and_says_why(home: Path) -> None:
    read_only(put(login_file(home), claude_content(-10)))
    result = run("validate")
    assert result.exit_code == 1
    assert "read-only" in result.stderr
    assert run("status").exit_code == 1


def test_a_provider_that_cannot_be_asked_is_worth_another_try_later(home: Path) -> None:
    put(login_file(home), claude_content(3600))
    assert run("validate").exit_code == 75
    assert run("refresh").exit_code == 75
    assert content_of(login_file(home))["claudeAiOauth"]["accessToken"] == OLD


def test_a_configuration_that_cannot_be_used_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER__PORT", "no number")
    result = run("status")
    assert result.exit_code == 78
    assert "SERVER__PORT" in result.stderr


def test_info_of_a_chatgpt_login_is_read_from_its_claims(home: Path) -> None:
    put(home / ".codex/auth.json", codex_content(3600))
    result = run("info", "openai")
    assert result.exit_code == 0
    assert "email\to@example.com" in result.stdout
    assert "account\tacct-1" in result.stdout
    assert json.loads(run("info", "openai", "--json").stdout)["plan"] == "plus"


def test_a_key_is_valid_without_asking(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE__API_KEY", "sk-ant-api03-secret")
    result = run("validate")
    assert (result.exit_code, "was not asked" in result.stdout) == (0, True)
    assert "sk-ant" not in result.stdout + run("info").stdout


def test_logging_out_asks_first(home: Path) -> None:
    put(login_file(home), claude_content(3600))
    assert CliRunner().invoke(app, ["logout"], input="n\n").exit_code == 1
    assert content_of(login_file(home))["claudeAiOauth"]
    assert CliRunner().invoke(app, ["logout"], input="y\n").exit_code == 0
    assert list(content_of(login_file(home))) == ["mcpOAuth"]
    assert run("logout", "--yes").exit_code == 1  # there is none left


def test_logging_out_without_a_login_asks_nothing(home: Path) -> None:
    result = CliRunner().invoke(app, ["logout"], input="")
    assert result.exit_code == 1
    assert "holds no login" in result.output
    assert "Take the login" not in result.output


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["logout", "nobody"], ["status", "--nonsense"]]
)
def test_wrong_usage_ends_with_2(home: Path, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
