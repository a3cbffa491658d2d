"""Both logins from the command to the file, against the simulator: with a browser, by paste, and
through a gateway.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.launcher.programs import find_script
from tests.support.browser import Browser
from tests.support.logins import approve, claude_content, content_of, put
from tests.support.simulator_fixture import GroundTruth

ROOT = Path(__file__).parents[2]
BROWSER = f"{sys.executable} {ROOT / 'tests/support/approving_browser.py'} %s"
LOGINS = {
    "login": (".claude/.credentials.json", "claude"),
    "login-openai": (".codex/auth.json", "openai"),
}


@pytest.fixture
def environment(tmp_path: Path, simulator: GroundTruth) -> dict[str, str]:
    """A new user's, with the simulator in the providers' place."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "SERVER__RUN_DIR": str(tmp_path / "run"),
        "CLAUDE__BASE_URL": simulator.url,
        "CLAUDE__OAUTH__AUTHORIZE_URL": f"{simulator.url}/cai/oauth/authorize",
        "CLAUDE__OAUTH__TOKEN_URL": f"{simulator.url}/v1/oauth/token",
        "CODEX__OAUTH__BASE_URL": simulator.url,
        "CODEX__OAUTH__CALLBACK_PORT": "0",
    }


Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(environment: dict[str, str], tmp_path: Path) -> Iterator[Begin]:
    """`begin("auth", "login")`: the command, running."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*find_script("ccproxy"), *arguments],
            cwd=tmp_path,
            env=environment | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def address_in(process: subprocess.Popen[str]) -> str:
    """The login page a command asks to open."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("http"):
            return line.strip()
    raise AssertionError("no address was shown")


def ended(process: subprocess.Popen[str], pasted: str | None = None) -> str:
    """What a command said, once it ended well."""
    output, errors = process.communicate(pasted, timeout=60)
    assert process.returncode == 0, errors
    return output + errors


def run(begin: Begin, *arguments: str) -> tuple[int, str]:
    process = begin(*arguments)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize("command", LOGINS)
def test_a_browser_completes_the_login_through_the_loopback_address(
    begin: Begin, command: str, tmp_path: Path, simulator: GroundTruth
) -> None:
    path, provider = LOGINS[command]
    said = ended(begin("auth", command, BROWSER=BROWSER))
    assert "Logged in" in said
    assert (tmp_path / path).stat().st_mode & 0o777 == 0o600
    code, status = run(begin, "auth", "status", "--json")
    assert code == 0
    states = {each["route"]: each for each in json.loads(status) if each["provider"] == provider}
    assert list(states) == {"claude": ["/api", "/sdk"], "openai": ["/codex"]}[provider]
    state = states.popitem()[1]
    assert (state["status"], state["source"], state["renewable"]) == (
        "pass",
        str(tmp_path / path),
        True,
    )
    assert state["subscription"] == {"claude": "max", "openai": "plus"}[provider]
    code, output = run(begin, "auth", "refresh", provider)
    assert (
        code,
        len(simulator.requests("/v1/oauth/token") + simulator.requests("/oauth/token")),
    ) == (0, 2)
    code, output = run(begin, "auth", "info", provider)
    assert (code, "owner@example.com" in output) == (0, True)
    assert run(begin, "auth", "validate", provider)[0] == 0
    assert run(begin, "auth", "logout", provider, "--yes")[0] == 0
    assert content_of(tmp_path / path) is None
    assert run(begin, "auth", "status")[0] == 1


@pytest.mark.long
@pytest.mark.parametrize("command", LOGINS)
def test_a_real_browser_s_approval_completes_the_login(
    begin: Begin, command: str, tmp_path: Path, browser: Browser
) -> None:
    """`$BROWSER` only writes down the address; a person, here Chromium, opens it and presses the
    button.
    """
    note = tmp_path / "address"
    note_down = tmp_path / "note-down"
    note_down.write_text(f'#!/bin/sh\nprintf %s "$1" > {note}.part && mv {note}.part {note}\n')
    note_down.chmod(0o755)
    login = begin("auth", command, BROWSER=f"{note_down} %s")
    late = time.monotonic() + 30
    while not note.exists():
        assert time.monotonic() < late, "the address was not opened"
        time.sleep(0.05)
    browser.go(note.read_text())
    browser.click("button[value=approve]")
    browser.until("return document.body && document.body.innerText.includes('Logged in')")
    assert "Logged in" in ended(login)
    assert (tmp_path / LOGINS[command][0]).is_file()


@pytest.mark.long
def test_claude_s_login_completes_by_pasting_the_code(begin: Begin, tmp_path: Path) -> None:
    put(tmp_path / ".claude/.credentials.json", {"mcpOAuth": "kept"})
    process = begin("auth", "login", "--no-browser")
    page = approve(address_in(process)).text
    shown = re.search("<code>(.+)</code>", page)
    assert shown
    assert "Logged in" in ended(process, shown[1] + "\n")
    content = content_of(tmp_path / ".claude/.credentials.json")
    assert content["mcpOAuth"] == "kept"
    assert content["claudeAiOauth"]["accessToken"].startswith("sk-ant-oat01-")


@pytest.mark.long
def test_chatgpt_s_login_completes_by_pasting_the_whole_address(
    begin: Begin, tmp_path: Path
) -> None:
    process = begin("auth", "login-openai", "--no-browser")
    location = approve(address_in(process)).headers["location"]
    assert "Logged in" in ended(process, location + "\n")
    assert content_of(tmp_path / ".codex/auth.json")["tokens"]["account_id"]


def test_an_answer_of_another_login_changes_nothing(begin: Begin, tmp_path: Path) -> None:
    process = begin("auth", "login", "--no-browser")
    shown = re.search("<code>(.+)</code>", approve(address_in(process)).text)
    assert shown
    assert process.stdin is not None
    process.stdin.write(f"{shown[1].partition('#')[0]}#another-state\n")
    process.stdin.flush()
    assert process.stderr is not None
    while "another login" not in process.stderr.readline():
        pass
    assert "Logged in" in ended(process, shown[1] + "\n")
    assert content_of(tmp_path / ".claude/.credentials.json")


def test_a_login_that_is_refused_ends_with_its_words(begin: Begin, tmp_path: Path) -> None:
    process = begin("auth", "login", "--no-browser")
    state = httpx.URL(address_in(process)).params["state"]
    _, errors = process.communicate(f"code-made-up#{state}\n", timeout=60)
    assert process.returncode == 1
    assert "invalid_grant" in errors
    assert content_of(tmp_path / ".claude/.credentials.json") is None


@pytest.fixture
def gateway(environment: dict[str, str]) -> Iterator[str]:
    """A gateway process that began none of the logins."""
    settings = {
        "REDIS__URL": "unix:///nowhere/redis.sock",
        "SERVER__PORT": "0",
        "SERVER__LOG_FORMAT": "json",
        "SERVER__LOG_LEVEL": "DEBUG",
    }
    process = subprocess.Popen(
        find_script("ccproxy-gateway"),
        env=environment | settings,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    port = next(
        said["port"] for said in map(json.loads, process.stderr) if said["event"] == "listening"
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate()


@pytest.mark.long
@pytest.mark.parametrize("command", LOGINS)
def test_a_gateway_completes_a_login_begun_elsewhere_by_its_state(
    begin: Begin, gateway: str, command: str, tmp_path: Path
) -> None:
    process = begin("auth", command, "--no-browser")
    url = httpx.URL(address_in(process))
    if command == "login":
        shown = re.search("<code>(.+)#", approve(str(url)).text)
        assert shown
        answer: dict[str, Any] = {"code": shown[1], "state": url.params["state"]}
    else:
        answer = dict(httpx.URL(approve(str(url)).headers["location"]).params)
    page = httpx.get(f"{gateway}/oauth/callback", params=answer)
    assert (page.status_code, "Logged in" in page.text) == (200, True)
    assert "Logged in" in ended(process)
    assert content_of(tmp_path / LOGINS[command][0])
    assert (
        httpx.get(f"{gateway}/oauth/callback", params=answer).status_code == 400
    )  # a state is good for one login


@pytest.mark.long
def test_the_gateway_s_page_escapes_what_it_shows(gateway: str) -> None:
    answer = {"error": "access_denied", "error_description": "<script>alert(1)</script>"}
    page = httpx.get(f"{gateway}/oauth/callback", params=answer)
    assert page.status_code == 400
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.long
def test_a_gateway_renews_an_expired_login_and_its_health_says_how_it_stands(
    gateway: str, tmp_path: Path, simulator: GroundTruth
) -> None:
    path = put(
        tmp_path / ".claude/.credentials.json", claude_content(refresh="sk-ant-ort01-of-a-gateway")
    )
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
    }
    answer = httpx.post(f"{gateway}/api/v1/messages", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert len(simulator.requests("/v1/oauth/token")) == 1
    checks = httpx.get(f"{gateway}/health").json()["checks"]
    for credential in checks["oauth2_credentials"]:
        assert (credential["status"], credential["credentials_path"]) == ("pass", str(path))
