"""One login, several processes and programs: nobody spends a refresh token twice, and nothing that
was got is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.accounts.store import CredentialFile
from tests.support.logins import OLD, OTHER_KEYS, claude_content, claude_login, put
from tests.support.simulator_fixture import GroundTruth

PROGRAM = Path(__file__).parent.parent / "support/credential_process.py"
TOKEN_PATH = "/v1/oauth/token"


class Holder:
    """One process with the account."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def answer(self) -> Any:
        return json.loads(self.line())


Start = Callable[..., Holder]


@pytest.fixture
def login(tmp_path: Path) -> Path:
    return tmp_path / "home/.claude/.credentials.json"


@pytest.fixture
def start(simulator: GroundTruth, login: Path) -> Iterator[Start]:
    """`start("serve", "100")`: a process with the login file `login`, against the simulator."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> Holder:
        settings = {
            "CLAUDE__CREDENTIALS_FILE": str(login),
            "CLAUDE__OAUTH__TOKEN_URL": simulator.url + TOKEN_PATH,
            "CLAUDE__BASE_URL": simulator.url,
        }
        root = str(Path(__file__).parents[2])
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": root,
                "HOME": str(login.parent.parent),
                **settings,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        holder = Holder(process)
        if arguments[0] == "serve":
            assert holder.line() == "ready\n"
        return holder

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def exchanges(simulator: GroundTruth) -> int:
    return len(simulator.requests(TOKEN_PATH))


def test_two_hundred_requests_on_two_processes_at_expiry_make_one_exchange(
    start: Start, login: Path, simulator: GroundTruth
) -> None:
    put(login, claude_content(refresh="sk-ant-ort01-slow-for-two-hundred"))
    holders = [start("serve", "100"), start("serve", "100")]
    for holder in holders:
        holder.ask()
    answers = [holder.answer() for holder in holders]
    renewed = claude_login(login)
    assert answers == [{"tokens": [f"Bearer {renewed['accessToken']}"], "errors": []}] * 2
    assert exchanges(simulator) == 1
    assert json.loads(login.read_text())["mcpOAuth"] == OTHER_KEYS["mcpOAuth"]
    assert login.stat().st_mode & 0o777 == 0o600


def test_a_process_killed_before_the_rename_leaves_a_login_that_the_next_one_takes_over(
    start: Start, login: Path, simulator: GroundTruth
) -> None:
    put(login, claude_content(refresh="sk-ant-ort01-killed-writing"))
    assert start("die-writing").process.wait(30) == -9
    assert claude_login(login)["accessToken"] == OLD
    holder = start("serve", "1")
    holder.ask()
    answer = holder.answer()
    assert answer == {"tokens": [f"Bearer {claude_login(login)['accessToken']}"], "errors": []}
    assert claude_login(login)["accessToken"] != OLD
    assert exchanges(simulator) == 1
    assert sorted(path.name for path in login.parent.iterdir()) == [
        ".credentials.json",
        ".credentials.json.ccproxy.lock",
    ]


def test_a_reply_that_died_with_its_process_is_told_and_the_file_stays(
    start: Start, login: Path, simulator: GroundTruth
) -> None:
    put(login, claude_content(refresh="sk-ant-ort01-killed-asking"))
    before = login.read_bytes()
    assert start("die-asking").process.wait(30) == -9
    holder = start("serve", "5")
    for _ in range(2):
        holder.ask()
        answer = holder.answer()
        assert answer["tokens"] == []
        (error,) = {
            message for message in answer["errors"] if "killed before its reply came" in message
        }
        assert "ccproxy auth login" in error
    assert login.read_bytes() == before
    assert (
        exchanges(simulator) == 2
    )  # the killed one, and one more try; then none until the file changes
    put(login, claude_content(3600, token="sk-ant-oat01-of-a-new-login"), age=0)
    deadline = time.monotonic() + 20  # the file is looked at once a second
    while not answer["tokens"]:
        assert time.monotonic() < deadline
        holder.ask()
        answer = holder.answer()
    assert answer["tokens"] == ["Bearer sk-ant-oat01-of-a-new-login"]


def test_what_the_official_program_renews_first_is_adopted(
    start: Start, login: Path, simulator: GroundTruth
) -> None:
    put(login, claude_content())
    lock = CredentialFile(login).try_lock()
    assert lock is not None
    with lock:
        holder = start("serve", "20")
        holder.ask()
        put(login, claude_content(3600, "sk-ant-ort01-newer", "sk-ant-oat01-newer"), age=0)
        assert holder.answer() == {"tokens": ["Bearer sk-ant-oat01-newer"], "errors": []}
    assert exchanges(simulator) == 0
