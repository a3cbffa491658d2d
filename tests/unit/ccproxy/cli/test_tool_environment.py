"""The variables of a tool, in the syntax of each shell; and the token that goes with them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import NotRunning
from ccproxy.cli.owned_tokens import OwnedTokens, TokenRefused, checked_token
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.cli.tool_environment import lines_for, listed_model, show_environment, usual_shell
from ccproxy.cli.tools import ToolSetup
from shared.accounts.tokens import TokenFile
from tests.support.loopback import LoopbackHandler, serving, url_of

AWKWARD = 'it\'s $HOME; `x` \\ "q"'


class Gateway(LoopbackHandler):
    """A gateway that lists models, and wants a token if `locked`."""

    locked = False
    models = ("claude-opus-5", "claude-sonnet-5-5")

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "pass", "version": "1", "checks": {}})
        elif self.locked and "x-api-key" not in self.headers:
            self.answer(401, {})
        else:
            self.answer(200, {"data": [{"id": name} for name in self.models]})


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setattr(Gateway, "locked", False)
    with serving(Gateway) as server:
        monkeypatch.setenv("SERVER__PORT", str(server.server_port))
        monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))
        monkeypatch.setenv("SECURITY__TOKENS_FILE", str(tmp_path / "tokens.json"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv(CHOSEN_TOKEN, "")
        monkeypatch.setenv(CHOSEN_URL, "")
        monkeypatch.chdir(tmp_path)
        yield url_of(server)


def shown(
    capsys: pytest.CaptureFixture[str], tool: str | None, route: str | None = None
) -> dict[str, str]:
    assert show_environment(tool, route=route, shell="json") == 0
    variables: dict[str, str] = json.loads(capsys.readouterr().out)["variables"]
    return variables


def test_the_tool_is_told_the_stack_s_address_and_a_listed_model(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "aider") == {
        "OPENAI_API_BASE": f"{url}/api/v1",
        "OPENAI_API_KEY": "anything",
        "AIDER_MODEL": "openai/claude-sonnet-5-5",
    }
    assert shown(capsys, "openai", "codex")["OPENAI_BASE_URL"] == f"{url}/codex/v1"


def test_the_kept_token_of_the_tool_is_used(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owned = OwnedTokens(TokenFile(tmp_path / "tokens.json"))
    secret = owned.add(checked_token({"name": "openai"}), keep=True)
    assert shown(capsys, "openai")["OPENAI_API_KEY"] == secret


def test_a_stack_that_wants_a_token_and_none_is_kept_is_refused_with_the_way(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Gateway, "locked", True)
    with pytest.raises(TokenRefused, match="`ccproxy token add openai --keep` makes one"):
        show_environment("openai", route=None, shell="json")
    monkeypatch.setenv(CHOSEN_TOKEN, "given")
    assert shown(capsys, "openai")["OPENAI_API_KEY"] == "given"


def test_a_stack_that_does_not_run_is_no_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER__PORT", "1")
    with pytest.raises(NotRunning):
        show_environment("openai", route=None, shell=None)


def test_a_wrong_route_or_shell_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_environment("openai", route="web", shell=None) == 2
    assert show_environment("openai", route=None, shell="csh") == 2
    assert "--shell csh: give one of sh, fish, powershell, json." in capsys.readouterr().err


def test_without_a_tool_the_known_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_environment(None, route=None, shell=None) == 0
    assert "claude\t/api\tANTHROPIC_BASE_URL" in capsys.readouterr().out


def test_a_stack_without_a_list_of_models_gets_the_usual_one() -> None:
    assert listed_model(FoundStack("http://127.0.0.1:1", "", "settings"), "codex") == "gpt-5.5"


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_a_shell_reads_the_lines_back_as_they_were_meant(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    setup = ToolSetup({"VALUE": AWKWARD}, ("GONE",), ["-c", "a b"], "A note.")
    script = "\n".join([*lines_for(setup, shell, "tool"), "env"])
    told = subprocess.run(
        [program, "-c", script],
        env={"GONE": "x", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert f"VALUE={AWKWARD}" in told
    assert not [line for line in told if line.startswith("GONE=")]


def test_powershell_gets_its_own_syntax() -> None:
    setup = ToolSetup({"VALUE": "it's"}, ("GONE",))
    assert list(lines_for(setup, "powershell", "tool")) == [
        "Remove-Item Env:GONE -ErrorAction SilentlyContinue",
        "$env:VALUE = 'it''s'",
    ]


def test_the_usual_shell_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert usual_shell() == "fish"
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert usual_shell() == "sh"
