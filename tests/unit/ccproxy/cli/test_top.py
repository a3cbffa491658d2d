"""`ccproxy top` in a terminal: its keys work, and after every end the terminal is as before."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.support.loopback import LoopbackHandler, serving, url_of
from tests.support.pseudo_terminal import PseudoTerminal, in_terminal
from tests.support.stack import clean_environment

USAGE = {"quota": [], "spent": [], "problem": "", "prices_as_of": "2026-01-01"}
SUMS = (
    "requests succeeded tokens_input tokens_output cache_read_tokens cache_write_tokens cost_usd "
    "unpriced_tokens"
)
ANSWERS = {
    "/usage": USAGE,
    "/usage/waiting": {"requests": []},
    "/logs/groups": {"results": [{"name": "m"} | dict.fromkeys(SUMS.split(), 1)]},
    "/logs/entries": {"entries": []},
}
FAILING = """
import asyncio
from rich.console import Console
from ccproxy.cli import top, top_view

def fail():
    raise ZeroDivisionError("a fault of ours")

found = top_view.Overview({}, [], [], [])
view = top_view.TopView(found)
view.show_problem("ready")
asyncio.run(top.show_frames(Console(), view, fail))
"""


class Gateway(LoopbackHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path.partition("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[list[str]]:
    with serving(Gateway) as server:
        yield [*find_script("ccproxy"), "top", "--url", url_of(server)]


def modes(terminal: PseudoTerminal) -> list[object]:
    return termios.tcgetattr(terminal.fd)


async def assert_restored(terminal: PseudoTerminal, before: list[object]) -> None:
    assert modes(terminal) == before
    await terminal.until_bytes(
        lambda shown: shown.rfind(b"\x1b[?1049l") > shown.rfind(b"\x1b[?1049h") >= 0
    )
    await terminal.until_bytes(lambda shown: shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"))


async def test_keys_change_the_view_and_q_restores_the_terminal(
    top: list[str], tmp_path: Path
) -> None:
    async with in_terminal(*top, env=clean_environment(tmp_path)) as terminal:
        before = modes(terminal)
        await terminal.until("q quits")
        terminal.press("j")
        at = await terminal.until("MODEL, 24 H")
        terminal.press("p")
        at = await terminal.until("paused", since=at)
        terminal.press("?")
        at = await terminal.until("Shift-Tab", since=at)
        terminal.resize(12, 60)
        await terminal.until("Shift-Tab", since=at)
        terminal.press("q")
        assert await terminal.end() == 0
        await assert_restored(terminal, before)


async def test_a_dumb_terminal_gets_one_frame(top: list[str], tmp_path: Path) -> None:
    dumb = clean_environment(tmp_path) | {"TERM": "dumb"}
    async with in_terminal(*top, env=dumb) as terminal:
        await terminal.until("MODEL, 24 H")
        assert await terminal.end() == 0
        assert "\x1b" not in terminal.text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_ends_it_and_restores_the_terminal(
    top: list[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with in_terminal(*top, env=clean_environment(tmp_path)) as terminal:
        before = modes(terminal)
        await terminal.until("q quits")
        terminal.process.send_signal(number)
        assert await terminal.end() == code
        await assert_restored(terminal, before)


async def test_a_stopped_view_gives_the_terminal_back_and_goes_on_after_it(
    top: list[str], tmp_path: Path
) -> None:
    async with in_terminal(*top, env=clean_environment(tmp_path)) as terminal:
        before = modes(terminal)
        await terminal.until("q quits")
        terminal.process.send_signal(signal.SIGTSTP)
        await asyncio.to_thread(os.waitid, os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
        await assert_restored(terminal, before)
        terminal.resize(24, 40)
        at = len(terminal.text)
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.until("q quits", since=at)
        assert modes(terminal) != before
        terminal.press("j")
        await terminal.until("MODEL", since=at)
        terminal.press("q")
        assert await terminal.end() == 0
        await assert_restored(terminal, before)


async def test_a_fault_of_ours_restores_the_terminal_and_is_shown(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAILING]
    async with in_terminal(*command, env=clean_environment(tmp_path)) as terminal:
        before = modes(terminal)
        await terminal.until("a fault of ours")
        assert await terminal.end() == 1
        await assert_restored(terminal, before)


def test_a_pipe_gets_one_plain_frame(top: list[str], tmp_path: Path) -> None:
    shown = subprocess.run(
        top, env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    ).stdout
    assert "MODEL, 24 H" in shown
    assert "\x1b" not in shown


def test_an_answer_of_another_program_is_named(tmp_path: Path) -> None:
    class Other(LoopbackHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

    with serving(Other) as server:
        asked = subprocess.run(
            [*find_script("ccproxy"), "top", "--url", url_of(server)],
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert asked.returncode == 1
    assert "not as CCProxy does" in asked.stderr
