"""The commands of `ccproxy token`, without a stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ccproxy.cli.owned_tokens import TokenRefused
from ccproxy.cli.token import app, end_of
from shared.accounts.tokens import TokenFile, token_digest

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("SECURITY__TOKENS_FILE", str(tmp_path / "tokens.json"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def stored(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_a_token_is_shown_alone_on_stdout_and_explained_beside(run: Run, tmp_path: Path) -> None:
    made = run("add", "aider", "--scope", "use", "--scope", "agent", "--model", "claude-*")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    [token] = stored(tmp_path).read()
    assert token.sha256 == token_digest(secret)
    assert (token.scopes, token.models) == (("use", "agent"), ("claude-*",))
    assert "not shown again" in made.stderr
    assert "Requests without a token stay allowed" in made.stderr


def test_the_list_tells_each_token_but_no_hash(run: Run, tmp_path: Path) -> None:
    assert "no token yet" in run("list").stderr
    run("add", "aider", "--route", "/api", "--expires", "30d")
    listed = run("list").stdout
    assert listed.split("\t")[:2] == ["aider", "use"]
    assert "/api" in listed
    facts = json.loads(run("list", "--json").stdout)
    assert [fact["name"] for fact in facts] == ["aider"]
    assert stored(tmp_path).read()[0].sha256 not in json.dumps(facts)


def test_the_list_has_the_tokens_of_the_settings_which_no_command_changes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = {"name": "chatbot", "token": "chatbots-token", "limits": ["$5/day"], "at_once": 2}
    monkeypatch.setenv("SECURITY__TOKENS", json.dumps([configured]))
    run("add", "aider")
    rows = [line.split("\t") for line in run("list").stdout.splitlines()]
    assert [row[0] for row in rows] == ["aider", "chatbot"]
    assert (rows[1][2], rows[1][6]) == ("in the settings", "$5.00/day, 2 at once")
    facts = json.loads(run("list", "--json").stdout)[1]
    assert (facts["created_at"], facts["limits"], facts["at_once"]) == (None, ["$5.00/day"], 2)
    for command in (("limits", "chatbot", "--clear"), ("revoke", "chatbot"), ("rotate", "chatbot")):
        assert "is set in SECURITY__TOKENS" in str(run(*command).exception)


def test_a_kept_token_is_printed_for_a_helper_until_it_is_revoked(run: Run) -> None:
    secret = run("add", "claude", "--keep").stdout
    assert run("helper", "claude").stdout == secret
    assert run("rotate", "claude").stdout == run("helper", "claude").stdout != secret
    assert "revoked" in run("revoke", "claude").stderr
    missing = run("helper", "claude")
    assert missing.exit_code == 1
    assert "ccproxy token add claude --keep" in missing.stderr


def test_a_new_token_comes_in_json_for_programs(run: Run) -> None:
    made = json.loads(run("add", "ci", "--json").stdout)
    assert made["token"].startswith("ccp_")
    assert made["scopes"] == ["use"]


def test_a_token_keeps_how_its_requests_wait_until_it_is_changed(run: Run, tmp_path: Path) -> None:
    run("add", "night", "--hold", "Until-Reset", "--priority", "background")
    [token] = stored(tmp_path).read()
    assert (token.hold, token.priority) == ("until-reset", "background")
    assert "held until the reset, background" in run("list").stdout
    # The command changes the file, and then has no stack to ask for what is used.
    changed = run("limits", "night", "--hold", "30m", "--at-once", "2")
    assert "The token 'night' has: 2 at once, held 30m, background." in changed.stderr
    run("limits", "night", "--hold", "no")
    assert stored(tmp_path).read()[0].hold == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "owner"),
        ("rotate", "x"),
        ("add", "x", "--expires", "soon"),
        ("add", "x", "--hold", "forever"),
        ("add", "x", "--priority", "first"),
    ],
)
def test_a_wrong_request_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    assert isinstance(run(*arguments).exception, TokenRefused)


def test_an_end_is_a_span_or_the_end_of_a_day() -> None:
    now = datetime(2026, 5, 1, 12).astimezone().timestamp()
    assert end_of("12h", now) == now + 43_200
    assert end_of("2w", now) == now + 14 * 86_400
    assert end_of("2026-05-01", now) == datetime(2026, 5, 2).astimezone().timestamp()
    for wrong in ("2026-04-30", "30", "d", "2026-13-01"):
        with pytest.raises(TokenRefused):
            end_of(wrong, now)
