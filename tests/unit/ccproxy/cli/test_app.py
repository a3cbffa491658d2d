from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ccproxy.cli.app import GROUPS, OVERRIDES, app, apply_overrides, without_token
from ccproxy.cli.exits import CONFIGURATION
from ccproxy.launcher.programs import find_script
from shared.settings.files import origins_here
from shared.settings.providers import CodeOptions
from shared.settings.sources import OPTIONS
from shared.settings.tree import Settings, load_settings

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


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment of the test's own, without the owner's files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (OPTIONS, *(option.setting for option in OVERRIDES)):
        monkeypatch.setenv(name, "")  # remembered, so that what the test sets is undone
    return monkeypatch


def test_help_loads_nothing_heavy():
    script = "import sys, ccproxy.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
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


def test_version_is_told():
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("ccproxy ")


def test_each_option_overrides_a_setting_that_exists():
    for option in OVERRIDES:
        place: object = Settings
        for part in option.setting.lower().split("__") if option.setting != "CONFIG_FILE" else []:
            assert part in place.model_fields, option.setting
            place = place.model_fields[part].annotation


def test_each_of_claudes_options_has_a_flag():
    flags = {option.flag for option in OVERRIDES}
    assert {
        f"--claude-code-options-{name.replace('_', '-')}" for name in CodeOptions.model_fields
    } <= flags


def test_options_are_stronger_than_the_environment_and_arrive_typed(environment):
    environment.setenv("SERVER__PORT", "1")
    apply_overrides(
        {
            "port": 8123,
            "sdk_enable_pool": False,
            "claude_code_options_cwd": "/tmp",
            "claude_code_options_allowed_tools": "Read, Bash(git log, git diff),Edit",
            "claude_sdk_message_mode": "formatted",
        }
    )
    settings = load_settings()
    assert settings.server.port == 8123
    assert settings.sdk.enable_pool is False
    assert str(settings.claude.code_options.cwd) == "/tmp"
    assert settings.claude.code_options.allowed_tools == ["Read", "Bash(git log, git diff)", "Edit"]
    assert settings.claude.sdk_message_mode == "formatted"


def test_an_option_that_was_not_given_overrides_nothing(environment):
    environment.setenv("SERVER__PORT", "8777")
    apply_overrides({"port": None, "sdk_workers": 2})
    settings = load_settings()
    assert (settings.server.port, settings.sdk.workers) == (8777, 2)


def test_the_options_stand_before_a_command_and_after_it():
    """`ccproxy --port 1 simulator --help` is understood; so is `ccproxy serve --port 1`."""
    names = {option.name for option in OVERRIDES}
    assert names <= {parameter.name for parameter in app_parameters("serve")}
    assert names <= {parameter.name for parameter in app_parameters(None)}


def app_parameters(command):
    group = get_command(app)
    return (group.commands[command] if command else group).params


@pytest.mark.parametrize(
    ("argv", "left", "token"),
    [
        (["ccproxy", "--auth-token", "s3cret", "serve"], ["ccproxy", "serve"], "s3cret"),
        (["ccproxy", "--auth-token=s3cret", "--port", "1"], ["ccproxy", "--port", "1"], "s3cret"),
        (["ccproxy", "serve"], ["ccproxy", "serve"], None),
        (["ccproxy", "--auth-token"], ["ccproxy", "--auth-token"], None),
    ],
)
def test_a_token_is_taken_off_the_command_line(argv, left, token):
    assert without_token(argv) == (left, token)


def test_what_was_an_option_is_known_to_be_one(environment):
    apply_overrides({"port": 8123, "sdk_enable_pool": False})
    assert origins_here().of(("server", "port")) == "command line --port"
    assert origins_here().of(("sdk", "enable_pool")) == "command line --sdk-enable-pool"


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


def test_lists_travel_as_json():
    option = next(option for option in OVERRIDES if option.many)
    assert json.loads(option.text("a, b,")) == ["a", "b"]
