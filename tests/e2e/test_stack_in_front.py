"""The commands of an owner find the stack that runs, a demo included, from any folder."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ccproxy.launcher.programs import find_script
from tests.contract.test_simulator_claude import program
from tests.support.codex_program import find_codex
from tests.support.stack import START_DEADLINE, Stack, clean_environment, until

__all__ = ["program"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's home, with a folder that has no configuration."""
    home = tmp_path_factory.mktemp("owner")
    (home / "elsewhere").mkdir()
    return home


@pytest.fixture(scope="module")
def demo(owner: Path) -> Iterator[list[str]]:
    """A running demo; yields the lines it has written so far."""
    process = subprocess.Popen(
        [*find_script("ccproxy"), "demo", "--port", "0"],
        cwd=owner,
        env=clean_environment(owner),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    reading = threading.Thread(target=lines.extend, args=[process.stdout], daemon=True)
    reading.start()
    until(
        lambda: any("Ctrl-C ends" in line for line in lines) or process.poll() is not None,
        "the demo",
        START_DEADLINE,
    )
    assert process.poll() is None, "".join(lines)
    yield lines
    process.send_signal(signal.SIGTERM)  # SIGINT is ignored where a shell started the tests aside
    assert process.wait(60) == 0
    reading.join()
    process.stdout.close()
    assert list((owner / ".local/state/ccproxy/stacks").iterdir()) == []


@pytest.fixture
def run(owner: Path, demo: list[str]) -> Run:
    """`run("status")`: the command in the folder without a configuration."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*find_script("ccproxy"), *arguments],
            cwd=owner / "elsewhere",
            env=clean_environment(owner) | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_the_commands_of_an_owner_find_the_demo(run: Run) -> None:
    status = run("status", "--json")
    assert status.returncode == 0, status.stderr
    facts = json.loads(status.stdout)
    assert (facts["running"], facts["kind"]) == (True, "demo")
    assert not {"token", "tokens_file"} & facts.keys()
    assert run("usage", "--json").returncode == 0
    rows = run("logs", "query", "SELECT path FROM requests", "--json")
    assert "/api/v1/messages" in rows.stdout, rows.stderr
    assert "/logs" not in rows.stdout
    assert "sdk_worker_00" in run("workers", "list").stdout
    assert run("permissions", "rules", "--json").returncode == 0


def test_an_address_without_a_stack_is_named(run: Run) -> None:
    asked = run("usage", "--url", "http://127.0.0.1:1")
    assert asked.returncode == 3
    assert asked.stderr == "Nothing answers at http://127.0.0.1:1, the address of --url.\n"
    workers = run("workers", "list", "--url", "http://127.0.0.1:1")
    assert (workers.returncode, workers.stderr) == (3, asked.stderr)
    scaled = run("workers", "scale", "2", "--url", "http://127.0.0.1:1")
    assert scaled.returncode == 3
    assert "was not started on this machine" in scaled.stderr


def test_a_folder_that_names_another_stack_is_told_of_the_demo(run: Run) -> None:
    asked = run("usage", SERVER__PORT="1")
    assert asked.returncode == 3
    assert "CCProxy is not running at http://127.0.0.1:1" in asked.stderr
    assert "demo at http://127.0.0.1:" in asked.stderr


def test_a_stack_with_a_token_is_known_by_its_own_and_says_which_is_missing(
    start_stack: Callable[..., Stack], run: Run
) -> None:
    """The token of the start is nowhere but in the launcher's environment."""
    stack = start_stack(SECURITY__AUTH_TOKEN="s3cret", SDK__WORKERS="0").wait_ready()

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*find_script("ccproxy"), *arguments],
            cwd=stack.home,
            env=clean_environment(stack.home),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    found = ask("usage", "--json")
    assert found.returncode == 0, found.stderr
    stranger = run("usage", "--url", stack.url)
    assert stranger.returncode == 1
    assert "wants a token: give --token, set SECURITY__AUTH_TOKEN" in stranger.stderr
    assert "x-api-key" not in stranger.stderr
    assert run("usage", "--json", "--url", stack.url, "--token", "s3cret").returncode == 0
    assert run("usage", "--json", "--url", stack.url, "--token", "wrong").returncode == 1


def callers(run: Run) -> set[str]:
    rows = run("logs", "query", "SELECT DISTINCT caller FROM requests", "--json")
    return {row["caller"] for row in json.loads(rows.stdout)}


def test_a_named_token_marks_its_requests_and_ends_when_it_is_revoked(run: Run) -> None:
    made = run("token", "add", "phone", "--model", "claude-haiku-*", "--route", "api")
    assert made.returncode == 0, made.stderr
    assert "It holds for the demo" in made.stderr
    headers = {"x-api-key": made.stdout.strip(), "anthropic-version": "2023-06-01"}
    url = json.loads(run("status", "--json").stdout)["url"]

    def ask(model: str, path: str = "/api/v1/messages") -> httpx.Response:
        body = {
            "model": model,
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "[[say:Hello.]]"}],
        }
        return httpx.post(url + path, json=body, headers=headers, trust_env=False, timeout=60)

    assert ask("claude-haiku-5-5").status_code == 200
    refused = ask("claude-sonnet-5-5")
    assert refused.status_code == 403
    assert refused.json()["error"] == {
        "type": "permission_error",
        "message": "The token 'phone' may not use the model 'claude-sonnet-5-5'; it may use "
        "claude-haiku-*.",
    }
    chat = ask("claude-sonnet-5-5", "/api/v1/chat/completions")
    assert chat.status_code == 403
    assert "may not use the model" in chat.json()["error"]["message"]
    other = ask("claude-haiku-5-5", "/codex/v1/messages")
    assert "may not use /codex; it may use /api" in other.json()["error"]["message"]
    until(lambda: "phone" in callers(run), "the record of the phone")
    assert [token["name"] for token in json.loads(run("token", "list", "--json").stdout)] == [
        "phone"
    ]
    assert run("token", "revoke", "phone").returncode == 0
    assert run("token", "list", "--json").stdout == "[]\n"


@pytest.mark.claude
def test_claude_code_runs_with_a_token_of_its_own(run: Run, program: Path) -> None:
    said = run(
        *("run", "--", str(program), "-p", "[[say:Hello from the run.]]"),
        ANTHROPIC_API_KEY="a-key-that-leads-elsewhere",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout == "Hello from the run.\n"
    until(lambda: "run-claude" in callers(run), "the record of the run")
    assert run("token", "list", "--json").stdout == "[]\n"


def test_codex_runs_with_a_provider_of_its_own_and_without_a_file(run: Run, owner: Path) -> None:
    codex = find_codex()
    said = run(
        *("run", "--", str(codex), "exec", "--skip-git-repo-check", "[[say:Hello from the run.]]")
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.strip().endswith("Hello from the run.")
    until(lambda: "run-codex" in callers(run), "the record of the run")
    assert not (owner / ".codex/config.toml").exists()
    other = run(
        *("run", "--route", "api", "--", str(codex), "exec", "--skip-git-repo-check"),
        "[[say:Hello from Claude.]]",
    )
    assert other.stdout.strip().endswith("Hello from Claude."), other.stderr


def test_a_program_s_own_exit_code_is_kept(run: Run) -> None:
    assert run("run", "--", "sh", "-c", "exit 9").returncode == 9
    assert run("run", "--", "no-such-program").returncode == 127


def test_the_variables_of_a_tool_name_the_demo(run: Run) -> None:
    url = json.loads(run("status", "--json").stdout)["url"]
    assert f"export OPENAI_BASE_URL={url}/api/v1\n" in run("env", "openai").stdout
