from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ccproxy.cli.app import GROUPS, app
from ccproxy.cli.exits import CONFIGURATION
from ccproxy.cli.serve_options import OVERRIDES
from ccproxy.launcher.programs import find_script

HEAVY = {
    "fastapi",
    "duckdb",
    "mcp",
    "supervisor",
    "httpx",
    "pydantic",
    "redis",
    "claude_code_sdk",
    "asyncio",
}


def test_help_loads_nothing_heavy():
    # shared/runtime/lean_imports.py leaves None, or a stand-in of another type, for a module that
    # is not loaded.
    script = (
        "import sys, types, ccproxy.cli.app; "
        "loaded = [name for name, it in sys.modules.items() if type(it) is types.ModuleType]; "
        "print(*{name.partition('.')[0] for name in loaded})"
    )
    # A measured process would load the modules of the measurement too.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=plain, capture_output=True, text=True, check=True
    ).stdout
    assert not HEAVY & set(loaded.split())


def test_no_command_s_line_is_cut_short():
    assert "..." not in run_main("--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    "command", [["--help"], ["serve", "--help"], ["demo", "--help"], ["generate-token", "--help"]]
)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("command", [["-h"], ["serve", "-h"], ["usage", "-h"]])
def test_a_short_help_is_the_help_of_every_command(command):
    assert "Usage:" in CliRunner().invoke(app, command).stdout


@pytest.mark.parametrize("group", GROUPS.values())
def test_a_short_help_is_the_help_of_every_group(group):
    assert "Usage:" in CliRunner().invoke(importlib.import_module(group).app, ["-h"]).stdout


@pytest.mark.parametrize("words", ["--version", "version"])
def test_version_is_told(words):
    assert CliRunner().invoke(app, [words]).stdout.startswith("ccproxy ")


def test_the_options_stand_before_a_command_and_after_it():
    """`ccproxy --port 1 simulator --help` is understood; so is `ccproxy serve --port 1`."""
    names = {option.name for option in OVERRIDES}
    assert names <= {parameter.name for parameter in app_parameters("serve")}
    assert names <= {parameter.name for parameter in app_parameters(None)}


def app_parameters(command):
    group = get_command(app)
    return (group.commands[command] if command else group).params


def run_main(*arguments, **environment):
    return subprocess.run(
        [*find_script("ccproxy"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_the_shell_that_was_named_is_shown(shell):
    script = run_main("--show-completion", shell).stdout
    assert f"complete_{shell}" in script


def test_completion_knows_what_is_inside_a_group():
    typed = {
        "_CCPROXY_COMPLETE": "complete_bash",
        "COMP_WORDS": "ccproxy config s",
        "COMP_CWORD": "2",
    }
    assert run_main(**typed).stdout.split() == ["show", "schema"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_explains_itself_under_its_own_name(group):
    shown = run_main(group, "--help")
    assert shown.returncode == 0
    assert f"Usage: ccproxy {group}" in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2], "a line is cut short on 80 columns"


def test_a_configuration_that_cannot_be_used_is_one_sentence_and_its_exit_code(tmp_path):
    (tmp_path / "bad.toml").write_text("[server]\nport = 'x'\n")
    ended = run_main("--config", str(tmp_path / "bad.toml"), "status")
    assert (ended.returncode, ended.stdout) == (CONFIGURATION, "")
    assert f"{tmp_path}/bad.toml:2" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
