"""`ccproxy codex info` and `test`, as programs, at a gateway in front of the strict backend."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.exits import FAILED, NOT_RUNNING, TRY_LATER
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import OPENAI_KEY, GroundTruth

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


async def run(home: Path, url: str, *arguments: str, **variables: str) -> Ended:
    """Run `ccproxy codex` at the stack at `url`; empty: at the stack that the command finds."""
    chosen = ("--url", url) if url else ()
    program = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("ccproxy")),
        *("codex", *arguments, *chosen),
        env={"PATH": os.environ["PATH"], "HOME": str(home), **variables},
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(program.communicate(), 60)
    assert program.returncode is not None
    return Ended(program.returncode, out.decode(), err.decode())


@pytest.fixture
async def settings(simulator: GroundTruth, tmp_path: Path) -> dict[str, Any]:
    return codex_settings(simulator.url, tmp_path)


async def test_info_shows_settings_credential_windows_and_models(
    open_gateway_at: OpenGateway,
    settings: dict[str, Any],
    simulator: GroundTruth,
    tmp_path: Path,
) -> None:
    url = await open_gateway_at(codex=settings)
    shown = await run(tmp_path, url, "info")
    assert shown.returncode == 0, shown.stderr
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["system_prompt_injection_mode", "disabled"] in lines
    assert ["gpt-5.5", "272,000", "8,192 (fallback)", "low medium high xhigh"] in lines
    assert {line[0] for line in lines} >= {"5h", "7d", "ok", "Codex program"}
    assert "eyJ" not in shown.stdout
    assert {seen.method for seen in simulator.requests("/backend-api")} == {"GET"}
    facts = json.loads((await run(tmp_path, url, "info", "--json")).stdout)
    assert facts["settings"]["max_output_tokens_fallback"] == 8192
    assert facts["profile"] is None


async def test_a_test_spends_one_request_and_shows_its_cost(
    open_gateway_at: OpenGateway,
    settings: dict[str, Any],
    simulator: GroundTruth,
    tmp_path: Path,
) -> None:
    shown = await run(tmp_path, await open_gateway_at(codex=settings), "test")
    assert shown.returncode == 0, shown.stderr
    facts = dict(line.split("\t") for line in shown.stdout.splitlines())
    assert facts["model"] == "gpt-6.1-sol"
    assert facts["said"].startswith("You said: Reply with")
    assert " tokens in (0 cached), " in facts["cost"]
    assert " % used, reset 20" in facts["5h window"]
    [seen] = simulator.requests("/backend-api/codex/responses")
    assert seen.header("originator") == "ccproxy"


async def test_a_key_is_tested_at_its_own_address_and_has_no_windows(
    open_gateway_at: OpenGateway,
    settings: dict[str, Any],
    simulator: GroundTruth,
    tmp_path: Path,
) -> None:
    url = await open_gateway_at(codex=settings | {"api_key": OPENAI_KEY})
    shown = await run(tmp_path, url, "test", "--model", "gpt-5.5")
    assert shown.returncode == 0, shown.stderr
    assert "gpt-5.5" in shown.stdout
    assert "window" not in shown.stdout
    assert len(simulator.requests("/v1/responses")) == 1
    assert simulator.requests("/backend-api/wham") == []


async def test_a_refusal_is_one_sentence(
    open_gateway_at: OpenGateway, settings: dict[str, Any], tmp_path: Path
) -> None:
    url = await open_gateway_at(codex=settings)
    for model in ("gpt-sim-usage-limit", "gpt-sim-failed"):
        shown = await run(tmp_path, url, "test", "--model", model)
        assert (shown.returncode, shown.stdout) == (FAILED, "")
        assert "limit" in shown.stderr.lower()
        assert "Traceback" not in shown.stderr


async def test_a_provider_that_is_away_is_for_later(
    open_gateway_at: OpenGateway, settings: dict[str, Any], tmp_path: Path
) -> None:
    away = settings | {"base_url": "http://127.0.0.1:9/codex"}
    url = await open_gateway_at(codex=away)
    assert (await run(tmp_path, url, "test", "--model", "gpt-5.5")).returncode == TRY_LATER
    shown = await run(tmp_path, url, "info")
    assert (shown.returncode, "could not be reached" in shown.stderr) == (FAILED, True), (
        shown.stderr
    )


async def test_without_a_login_the_command_that_makes_one_is_named(
    open_gateway_at: OpenGateway, settings: dict[str, Any], tmp_path: Path
) -> None:
    url = await open_gateway_at(codex=settings | {"auth_file": str(tmp_path / "nowhere.json")})
    shown = await run(tmp_path, url, "test", "--model", "gpt-5.5")
    assert (shown.returncode, "auth login-openai" in shown.stderr) == (FAILED, True), shown.stderr


def as_variables(settings: dict[str, Any]) -> dict[str, str]:
    oauth = settings.pop("oauth")
    variables = {f"CODEX__{name.upper()}": str(value) for name, value in settings.items()}
    return variables | {"CODEX__OAUTH__BASE_URL": oauth["base_url"]}


async def test_a_gateway_of_a_moment_answers_where_no_stack_runs(
    settings: dict[str, Any], simulator: GroundTruth, tmp_path: Path
) -> None:
    token = "the-owners-token-which-the-command-need-not-send"
    variables = as_variables(settings) | {"SECURITY__AUTH_TOKEN": token, "server__port": "1"}
    shown = await run(tmp_path, "", "test", **variables)
    assert shown.returncode == 0, shown.stderr
    assert "You said: Reply with" in shown.stdout
    assert "5h window" in shown.stdout
    assert len(simulator.requests("/backend-api/codex/responses")) == 1
    # The gateway has ended with the command, and has left no stack.
    status = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("ccproxy")),
        "status",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await status.wait() == NOT_RUNNING


async def test_no_stack_is_started_in_place_of_a_named_one(tmp_path: Path) -> None:
    shown = await run(tmp_path, "http://127.0.0.1:9", "info")
    assert (shown.returncode, shown.stdout) == (NOT_RUNNING, "")
    assert "Nothing answers at http://127.0.0.1:9" in shown.stderr
