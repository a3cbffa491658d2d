"""A program with a stack's address: its exit code, its signals, its token."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.cli.tool_run import run_in_terminal, run_tool, token_of_run
from ccproxy.launcher.stacks import RunningStack, keep_listed, start_time
from shared.accounts.tokens import TokenFile, token_digest
from shared.settings.tree import load_settings


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunningStack:
    """A stack of this machine, as the registry knows it: this process stands in for it."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv(CHOSEN_TOKEN, "")
    monkeypatch.setenv(CHOSEN_URL, "")
    monkeypatch.chdir(tmp_path)
    pid = os.getpid()
    return RunningStack(
        "http://127.0.0.1:1",
        pid,
        start_time(pid),
        str(tmp_path / "run"),
        "serve",
        "of-the-stack",
        str(tmp_path / "tokens.json"),
    )


def python(program: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(program)]


def test_a_program_gets_the_address_and_a_token_that_ends_with_it(
    stack: RunningStack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = """
        import hashlib, os, pathlib
        digest = hashlib.sha256(os.environ["ANTHROPIC_API_KEY"].encode()).hexdigest()
        print(os.environ["ANTHROPIC_BASE_URL"], digest in pathlib.Path("tokens.json").read_text())
        raise SystemExit(7)
    """
    with keep_listed(stack, tmp_path / "ccproxy/stacks"):
        assert run_tool(python(program), route="sdk", tool_name=None) == 7
    assert capfd.readouterr().out == "http://127.0.0.1:1/sdk True\n"
    assert TokenFile(tmp_path / "tokens.json").read() == []


def test_the_token_of_a_run_has_the_scopes_of_its_route(
    stack: RunningStack, tmp_path: Path
) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    found = FoundStack(stack.url, stack.token, "registry", stack.pid, stack)
    with keep_listed(stack, tmp_path / "ccproxy/stacks"):
        with token_of_run("claude", "sdk", found, load_settings()) as token:
            [made] = file.read()
            assert (made.name, made.scopes) == ("run-claude", ("use", "agent"))
            assert made.sha256 == token_digest(token)
        with token_of_run("claude", "api", found, load_settings()):
            assert file.read()[0].scopes == ("use",)
    assert file.read() == []


def test_a_given_token_and_a_stack_elsewhere_need_none_made(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = FoundStack("https://home.example", "", "--url")
    with token_of_run("claude", "api", elsewhere, load_settings()) as token:
        assert token == "anything"
    monkeypatch.setenv(CHOSEN_TOKEN, "given")
    found = FoundStack(stack.url, stack.token, "registry", stack.pid, stack)
    with token_of_run("claude", "api", found, load_settings()) as token:
        assert token == "given"
    assert not (tmp_path / "tokens.json").exists()


def test_a_program_that_is_not_there_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_tool(["no-such-program"], route=None, tool_name=None) == 127
    assert capsys.readouterr().err == "no-such-program: no such program is on PATH.\n"
    assert run_tool(["no-such-program"], route="web", tool_name=None) == 2


def test_the_end_by_a_signal_is_told_as_a_shell_tells_it() -> None:
    code = run_in_terminal(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), {})
    assert code == 128 + signal.SIGKILL


def test_a_signal_reaches_the_program_and_this_process_lives_on(tmp_path: Path) -> None:
    """In a process of its own, as the signal goes to the whole of a test's process."""
    inner = """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
        print("ready", flush=True)
        signal.pause()
    """
    outer = f"""
        import os, sys
        from ccproxy.cli.tool_run import run_in_terminal
        code = run_in_terminal([sys.executable, "-c", {textwrap.dedent(inner)!r}], dict(os.environ))
        print("ended", code)
    """
    with subprocess.Popen(python(outer), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ended 42\n"


def test_the_handlers_of_this_process_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_in_terminal(python(""), {}) == 0
    assert signal.getsignal(signal.SIGTERM) is before
