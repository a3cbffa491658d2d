"""`ccproxy codex info` and `test`, as programs, at the strict backend and at the public door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccproxy.cli.exits import FAILED, TRY_LATER
from tests.codex import codex_settings
from tests.simulator_fixture import OPENAI_KEY, GroundTruth

Environment = dict[str, str]


@pytest.fixture
def environment(simulator: GroundTruth, tmp_path: Path) -> Environment:
    settings = codex_settings(simulator.url, tmp_path)
    oauth = settings.pop("oauth")
    said = {f"CODEX__{name.upper()}": str(value) for name, value in settings.items()}
    said["CODEX__OAUTH__BASE_URL"] = oauth["base_url"]
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **said}


def run(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("ccproxy"), "codex", *arguments]
    home = environment["HOME"]
    return subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )


def test_info_shows_settings_credential_windows_and_models(
    environment: Environment, simulator: GroundTruth
) -> None:
    shown = run(environment, "info")
    assert shown.returncode == 0, shown.stderr
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["system_prompt_injection_mode", "disabled"] in lines
    assert ["gpt-5.5", "272,000", "8,192 (fallback)", "low medium high xhigh"] in lines
    assert {line[0] for line in lines} >= {"5h", "7d", "ok", "Codex program"}
    assert "eyJ" not in shown.stdout
    assert {seen.method for seen in simulator.requests("/backend-api")} == {"GET"}
    facts = json.loads(run(environment, "info", "--json").stdout)
    assert facts["settings"]["max_output_tokens_fallback"] == 8192
    assert facts["profile"] is None


def test_a_test_spends_one_request_and_says_what_it_cost(
    environment: Environment, simulator: GroundTruth
) -> None:
    shown = run(environment, "test")
    assert shown.returncode == 0, shown.stderr
    facts = dict(line.split("\t") for line in shown.stdout.splitlines())
    assert facts["model"] == "gpt-6.1-sol"
    assert facts["said"].startswith("You said: Reply with")
    assert " tokens in (0 cached), " in facts["cost"]
    assert "% used, reset 20" in facts["5h window"]
    [seen] = simulator.requests("/backend-api/codex/responses")
    assert seen.header("originator") == "ccproxy"


def test_a_key_is_tested_at_its_own_door(environment: Environment, simulator: GroundTruth) -> None:
    shown = run(environment | {"CODEX__API_KEY": OPENAI_KEY}, "test", "--model", "gpt-5.5")
    assert shown.returncode == 0, shown.stderr
    assert "gpt-5.5" in shown.stdout
    assert len(simulator.requests("/v1/responses")) == 1


@pytest.mark.parametrize("model", ["gpt-sim-usage-limit", "gpt-sim-failed"])
def test_a_refusal_is_one_sentence(environment: Environment, model: str) -> None:
    shown = run(environment, "test", "--model", model)
    assert (shown.returncode, shown.stdout) == (FAILED, "")
    assert "limit" in shown.stderr.lower()
    assert "Traceback" not in shown.stderr


def test_a_provider_that_is_away_is_for_later(environment: Environment) -> None:
    away = environment | {"CODEX__BASE_URL": "http://127.0.0.1:9/codex"}
    assert run(away, "test").returncode == TRY_LATER
    shown = run(away, "info")
    assert (shown.returncode, "cannot be reached" in shown.stderr) == (FAILED, True)


def test_without_a_login_the_command_that_makes_one_is_named(environment: Environment) -> None:
    shown = run(environment | {"CODEX__AUTH_FILE": "nowhere.json"}, "test")
    assert (shown.returncode, "auth login-openai" in shown.stderr) == (FAILED, True)
