"""The program and version of a request are read from its user agent."""

from __future__ import annotations

import pytest

from gateway.proxy.client_programs import client_program


@pytest.mark.parametrize(
    ("user_agent", "program", "version"),
    [
        ("claude-cli/2.1.330 (external, cli)", "claude-code", "2.1.330"),
        (
            "codex_exec/0.171.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.171.0)",
            "codex",
            "0.171.0",
        ),
        ("codex_cli_rs/0.169.0", "codex", "0.169.0"),
        ("OpenAI/Python 2.3.0", "openai-sdk-python", "2.3.0"),
        ("AsyncAnthropic/Python 0.71.0", "anthropic-sdk-python", "0.71.0"),
        ("Anthropic/JS 0.65.0", "anthropic-sdk-js", "0.65.0"),
        ("ai-sdk/openai/2.0.1 runtime/node.js/22", "vercel-ai", ""),
        ("curl/8.5.0", "curl", "8.5.0"),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "browser", "5.0"),
        ("MyOwnTool/3", "myowntool", "3"),
        ("MyOwnTool", "myowntool", ""),
        ("", "", ""),
        ("(nothing)", "", ""),
    ],
)
def test_a_user_agent_names_its_program_and_version(
    user_agent: str, program: str, version: str
) -> None:
    assert client_program(user_agent) == (program, version)


def test_the_names_of_a_hostile_user_agent_are_short() -> None:
    program, version = client_program("x" * 10_000 + "/" + "1" * 10_000)
    assert len(program) <= 64
    assert len(version) <= 32
