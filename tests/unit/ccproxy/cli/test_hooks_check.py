"""The check of installed hooks: it asks the gateway as the hooks would."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ccproxy.cli.agent_hooks import HookAccess
from ccproxy.cli.agent_settings import SettingsFile
from ccproxy.cli.hook_access import write_access
from ccproxy.cli.hooks import install_hooks
from ccproxy.cli.hooks_check import Installed, check_hooks, installed_hooks, look_at_hooks

ACCESS = HookAccess("http://127.0.0.1:1", "secret", "laptop")
FILE = SettingsFile("claude", Path("settings.json"))


def check(answer: httpx.Response | Exception, **installed: object) -> tuple[str, str]:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    given = Installed(FILE, ACCESS, [])
    for name, value in installed.items():
        given = Installed(**{"file": FILE, "access": ACCESS, "untrusted": [], name: value})  # type: ignore[arg-type]
    finding = check_hooks("hooks", "claude", given, httpx.MockTransport(respond))
    assert all(request.headers["x-api-key"] == "secret" for request in seen)
    return finding.status, finding.says + finding.fix


def test_hooks_that_work_say_what_they_meet() -> None:
    assert check(httpx.Response(200, json={"away": True}))[0] == "pass"
    assert "You are away" in check(httpx.Response(200, json={"away": True}))[1]
    assert "at the desk" in check(httpx.Response(200, json={"away": False, "asks": "away"}))[1]
    assert "watches" in check(httpx.Response(200, json={"away": False, "asks": "watched"}))[1]


def test_a_token_that_is_not_taken_is_a_fault_with_its_remedy() -> None:
    refused = httpx.Response(401, json={"error": {"message": "no such token"}})
    status, words = check(refused)
    assert (status, "does not know" in words, "install claude" in words) == ("fail", True, True)


def test_a_service_that_is_away_is_a_fault() -> None:
    away = httpx.Response(503, json={"error": {"message": "No process is there"}})
    assert check(away)[0] == "fail"


def test_a_stack_that_is_not_running_is_a_note() -> None:
    status, words = check(httpx.ConnectError("refused"))
    assert (status, "own terminal" in words) == ("warn", True)


def test_hooks_that_codex_does_not_trust_yet_are_a_note() -> None:
    status, words = check(httpx.Response(200, json={}), untrusted=["Stop"])
    assert (status, "/hooks" in words) == ("warn", True)


def test_hooks_without_an_access_are_a_fault() -> None:
    assert check(httpx.Response(200, json={}), access=None)[0] == "fail"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SECURITY__TOKENS_FILE", str(tmp_path / "tokens.json"))
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


def test_hooks_of_codex_count_as_trusted_by_its_own_state(home: Path) -> None:
    assert installed_hooks("codex") is None
    install_hooks("codex", None, yes=True)
    write_access("codex", ACCESS)
    installed = installed_hooks("codex")
    assert installed is not None
    assert (installed.access, installed.untrusted) == (ACCESS, ["PermissionRequest", "Stop"])
    hooks = home / ".codex/hooks.json"
    (home / ".codex/config.toml").write_text(
        f'[hooks.state."{hooks}:permission_request:0:0"]\ntrusted_hash = "sha256:1"\n'
    )
    installed = installed_hooks("codex")
    assert installed is not None
    assert installed.untrusted == ["Stop"]


def test_the_doctor_looks_only_at_installed_hooks(home: Path) -> None:
    assert list(look_at_hooks()) == []
    folder = home / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text("{")
    (finding,) = look_at_hooks()
    assert (finding.about, finding.status) == ("hooks of claude", "fail")
