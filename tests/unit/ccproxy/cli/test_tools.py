"""The table of tools, and the setup of one tool for one stack."""

from __future__ import annotations

import json

import pytest

from ccproxy.cli.tools import (
    ANY,
    ROUTES,
    TOOLS,
    UnknownTool,
    needs_model,
    set_up,
    tool_named,
    tool_of_program,
)

URL = "http://127.0.0.1:8000"


def test_every_tool_is_set_up_on_every_route_without_a_gap() -> None:
    for tool in (*TOOLS, ANY):
        for route in ROUTES:
            setup = set_up(tool, URL, route, "the-token", "the-model")
            whole = " ".join([*setup.variables.values(), *setup.options])
            assert f"{URL}/{route}" in whole, tool.name
            assert "the-token" in setup.variables.values(), tool.name
            assert "$" not in whole, tool.name
            assert not set(setup.unset) & set(setup.variables), tool.name


def test_claude_code_gets_a_token_and_no_key_that_would_lead_elsewhere() -> None:
    setup = set_up(tool_named("claude"), URL, "api", "t")
    before = {"ANTHROPIC_API_KEY": "mine", "ANTHROPIC_BASE_URL": "https://other", "PATH": "/bin"}
    after = setup.environment(before)
    assert after["ANTHROPIC_BASE_URL"] == f"{URL}/api"
    assert after["ANTHROPIC_AUTH_TOKEN"] == "t"
    assert after["PATH"] == "/bin"
    assert "ANTHROPIC_API_KEY" not in after
    assert before["ANTHROPIC_API_KEY"] == "mine"


def test_codex_gets_its_provider_from_options_and_a_model_only_for_another_route() -> None:
    codex = tool_named("codex")
    setup = set_up(codex, URL, "codex", "t")
    assert f'model_providers.ccproxy.base_url="{URL}/codex"' in setup.options
    assert "model=" not in " ".join(setup.options).replace("model_provider", "")
    other = set_up(codex, URL, "api", "t", "claude-sonnet-5-5")
    assert f'model_providers.ccproxy.base_url="{URL}/api/v1"' in other.options
    assert 'model="claude-sonnet-5-5"' in other.options
    assert needs_model(codex, "api")
    assert not needs_model(codex, "codex")


def test_opencode_gets_a_whole_configuration_in_one_variable() -> None:
    setup = set_up(tool_named("opencode"), URL, "sdk", "t", "claude-sonnet-5-5")
    configuration = json.loads(setup.variables["OPENCODE_CONFIG_CONTENT"])
    assert configuration["model"] == "anthropic/claude-sonnet-5-5"
    options = configuration["provider"]["anthropic"]["options"]
    assert options == {"baseURL": f"{URL}/sdk/v1", "apiKey": "{env:CCPROXY_TOKEN}"}


@pytest.mark.parametrize(
    ("program", "name"),
    [("claude", "claude"), ("/usr/bin/codex", "codex"), ("aider.exe", "aider"), ("make", "any")],
)
def test_a_program_is_known_by_its_name(program: str, name: str) -> None:
    assert tool_of_program(program).name == name


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownTool, match=r"'cluade' is no tool known here. Known: claude, codex"):
        tool_named("cluade")
