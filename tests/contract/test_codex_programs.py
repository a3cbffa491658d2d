"""The real `codex` and the real `claude` complete tool loops at `/codex`, and the real `codex`
tells its profile.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.accounts.codex_profile import CodexProfile
from shared.settings.providers import CodexSettings
from tests.contract.conftest import OpenGateway
from tests.contract.test_simulator_claude import Claude, program
from tests.support.codex import codex_settings
from tests.support.codex_program import codex_environment, find_codex
from tests.support.simulator_fixture import GroundTruth

__all__ = ["program"]

BACKEND = "/backend-api/codex/responses"
pytestmark = pytest.mark.timeout(400)  # the first run of a machine installs the program


@pytest.fixture(scope="session")
def codex() -> Path:
    return find_codex()


@pytest.fixture
async def codex_url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return f"{await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))}/codex"


async def run(environment: dict[str, str], *command: str | Path, cwd: Path) -> list[dict[str, Any]]:
    """The JSON lines a program printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    printed, complained = await process.communicate()
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith(b"{")]
    assert lines, complained.decode()[-2000:]
    return lines


def answers(lines: list[dict[str, Any]]) -> list[str]:
    items = [line["item"] for line in lines if line["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


def exec_command(codex: Path, model: str, prompt: str) -> list[str | Path]:
    options = ["--skip-git-repo-check", "--json", "-s", "danger-full-access", "-m", model]
    return [codex, "exec", *options, prompt]


# Older models are given a shell, newer ones a custom tool in a namespace that runs a program
# calling the shell.
SHELL = '[[tool:exec_command {"cmd":"echo $((40+2))"}]]'
CODE = """[[tool:exec {"input":"const r = await tools.exec_command({cmd: 'echo $((40+2))'}); text(r.output)"}]]"""


@pytest.mark.parametrize(
    ("model", "tool", "kind"),
    [("gpt-5.5", SHELL, "function_call_output"), ("gpt-6-sol", CODE, "custom_tool_call_output")],
)
async def test_codex_runs_a_tool_and_is_told_its_output(
    codex: Path,
    codex_url: str,
    simulator: GroundTruth,
    tmp_path: Path,
    model: str,
    tool: str,
    kind: str,
) -> None:
    command = exec_command(codex, model, f"run it {tool} [[say:That was all.]]")
    lines = await run(codex_environment(tmp_path / "home", codex_url), *command, cwd=tmp_path)
    turns = simulator.requests(BACKEND)
    assert [turn.status for turn in turns] == [200, 200]
    assert answers(lines)[-1].endswith("42\nThat was all.")
    assert "42" in str(
        next(item["output"] for item in turns[1].body["input"] if item["type"] == kind)
    )
    assert len({turn.body["prompt_cache_key"] for turn in turns}) == 1
    assert all(turn.header("originator") == "codex_exec" for turn in turns)


async def test_codex_tells_its_user_of_a_usage_limit_and_asks_no_more(
    codex: Path, codex_url: str, simulator: GroundTruth, tmp_path: Path
) -> None:
    environment = codex_environment(tmp_path / "home", codex_url)
    lines = await run(
        environment, *exec_command(codex, "gpt-5.5", "[[scenario:usage-limit]]"), cwd=tmp_path
    )
    assert "limit" in orjson.dumps(lines[-1]).decode()
    assert len(simulator.requests(BACKEND)) == 1


@pytest.mark.claude
async def test_claude_runs_a_tool_on_a_codex_model(
    program: Path,
    codex_url: str,
    simulator: GroundTruth,
    tmp_path: Path,
) -> None:
    claude = Claude(program, tmp_path, codex_url)
    lines = await claude.ask(
        'run it [[tool:Bash {"command":"echo $((40+2))"}]] [[say:That was all.]]',
        "--model",
        "gpt-5.5",
    )
    assert lines[-1]["result"] == "The tool answered: 42\nThat was all."
    turns = simulator.requests(BACKEND)
    assert [turn.status for turn in turns] == [200, 200]
    assert {turn.body["prompt_cache_key"] for turn in turns} == {lines[-1]["session_id"]}
    before = turns[0].body["input"]
    assert turns[1].body["input"][: len(before)] == before
    assert "x-anthropic-billing-header" not in turns[0].raw.decode()


async def test_the_real_program_is_understood(codex: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    profile = await CodexProfile(CodexSettings(cli_path=codex), environment).get()
    assert profile
    assert "gpt-5.5" in {model["slug"] for model in profile.models}
    assert len(profile.instructions("gpt-5.5")) > 5_000
    assert os.listdir(tmp_path) == [".cache"]
