"""The status line: one short line, silent on a failure, from a stack found without the settings."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.exits import NOT_RUNNING
from ccproxy.cli.stack_options import CHOSEN_URL
from ccproxy.cli.statusline import only_stack, quick_statusline, statusline
from ccproxy.cli.usage import show_statusline
from ccproxy.launcher.stacks import RunningStack, keep_listed, start_time
from tests.support.loopback import LoopbackHandler, serving, url_of

NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))
COST = {"span": "24h", "cost_usd": 1.5}


def quota(resets_at: float = NOON + 3600) -> dict[str, Any]:
    window = {"window": "5h", "used_percent": 42.5, "resets_at": resets_at}
    return {"provider": "claude", "windows": [window]}


def test_a_status_line_holds_the_windows_and_the_cost_of_a_day() -> None:
    usage = {"quota": [quota()], "spent": [COST, COST | {"span": "7d"}], "problem": ""}
    assert statusline(usage, NOON) == "claude 5h 42% 13:00 · $1.50 in 24 h"


def test_a_status_line_leaves_out_ended_windows_and_an_unknown_cost() -> None:
    ended = quota(resets_at=NOON - 1)
    assert statusline({"quota": [ended], "spent": [], "problem": "no database"}, NOON) == ""


def test_a_status_line_of_a_stack_that_does_not_run_is_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOSEN_URL, "http://127.0.0.1:1")
    assert show_statusline() == NOT_RUNNING
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


class Gateway(LoopbackHandler):
    """A gateway that shows its usage to the stack's own token alone."""

    def do_GET(self) -> None:
        usage = {"quota": [], "spent": [COST], "problem": ""}
        self.send_response(200 if self.headers["x-api-key"] == "of-the-stack" else 401)
        self.end_headers()
        self.wfile.write(json.dumps(usage).encode())


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the registry of a user without settings."""
    for name in [*os.environ]:
        if name.startswith(("SERVER__", "CONFIG_FILE", "CCPROXY_STACK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ccproxy/stacks"


def stack_at(url: str, token: str = "of-the-stack") -> RunningStack:
    pid = os.getpid()
    return RunningStack(url, pid, start_time(pid), "/nowhere", "serve", token, "/nowhere")


@pytest.mark.parametrize(("token", "line"), [("of-the-stack", "$1.50 in 24 h"), ("old", "")])
def test_the_only_running_stack_is_asked_with_its_own_token(
    registry: Path, token: str, line: str
) -> None:
    with serving(Gateway) as server, keep_listed(stack_at(url_of(server), token), registry):
        assert quick_statusline({}, Path.cwd()) == line


def test_a_stack_that_does_not_answer_has_an_empty_line(registry: Path) -> None:
    with keep_listed(stack_at("http://127.0.0.1:1"), registry):
        assert quick_statusline({}, Path.cwd()) == ""


def test_the_settings_are_read_where_they_could_name_another_stack(registry: Path) -> None:
    folder = Path.cwd()
    assert quick_statusline({}, folder) is None, "no stack runs"
    stack = stack_at("http://127.0.0.1:1")
    with keep_listed(stack, registry):
        assert only_stack({}, folder) == stack
        for name in ("SERVER__PORT", "server__run_dir", "CONFIG_FILE", "CCPROXY_STACK_URL"):
            assert only_stack({name: "x"}, folder) is None
        for name in (".env", "ccproxy.toml", ".ccproxy.toml"):
            (folder / name).touch()
            assert only_stack({}, folder) is None
            (folder / name).unlink()
