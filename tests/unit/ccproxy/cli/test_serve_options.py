"""The options of `ccproxy serve` as settings: which exist, and how their values arrive."""

from __future__ import annotations

import json

import pytest

from ccproxy.cli.serve_options import OVERRIDES, apply_overrides
from shared.settings.files import origins_here
from shared.settings.providers import CodeOptions
from shared.settings.sources import OPTIONS
from shared.settings.tree import Settings, load_settings


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment of the test's own, without the owner's files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (OPTIONS, *(option.setting for option in OVERRIDES)):
        monkeypatch.setenv(name, "")  # remembered, so that what the test sets is undone
    return monkeypatch


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


def test_what_was_an_option_is_known_to_be_one(environment):
    apply_overrides({"port": 8123, "sdk_enable_pool": False})
    assert origins_here().of(("server", "port")) == "command line --port"
    assert origins_here().of(("sdk", "enable_pool")) == "command line --sdk-enable-pool"


def test_lists_travel_as_json():
    option = next(option for option in OVERRIDES if option.many)
    assert json.loads(option.text("a, b,")) == ["a", "b"]
