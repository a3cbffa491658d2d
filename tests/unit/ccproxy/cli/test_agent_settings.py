"""The settings files of agents: found where the agents look, replaced whole, and kept as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.agent_hooks import HookAccess, claude_hooks
from ccproxy.cli.agent_settings import SettingsFile, secrets_in, settings_difference, settings_file
from shared.settings.problems import ConfigurationError


def test_each_agent_has_a_file_of_the_user_and_one_of_a_project(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert settings_file("claude", None, home).path == tmp_path / ".claude/settings.json"
    assert settings_file("codex", None, home).path == tmp_path / ".codex/hooks.json"
    project = tmp_path / "p"
    assert settings_file("claude", project, home).path.name == "settings.local.json"
    assert settings_file("codex", project, home).path == project / ".codex/hooks.json"


def test_the_agents_own_variables_move_the_files(tmp_path: Path) -> None:
    moved = {"HOME": "/nowhere", "CLAUDE_CONFIG_DIR": str(tmp_path), "CODEX_HOME": str(tmp_path)}
    assert settings_file("claude", None, moved).path == tmp_path / "settings.json"
    assert settings_file("codex", None, moved).path == tmp_path / "hooks.json"


def test_hooks_of_codex_join_those_in_its_configuration(tmp_path: Path) -> None:
    folder = tmp_path / ".codex"
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text('[hooks.state."a"]\ntrusted_hash = "x"\n')
    assert settings_file("codex", None, {"HOME": str(tmp_path)}).path.name == "hooks.json"
    config.write_text("[[hooks.Stop]]\nhooks = []\n")
    assert settings_file("codex", None, {"HOME": str(tmp_path)}).path == config


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_file_that_is_no_object_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"settings\.json"):
        SettingsFile("claude", path).read()
    assert path.read_text() == text


def test_the_old_content_is_kept_and_both_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"a": "ü"}')
    file = SettingsFile("claude", path)
    backup = file.replace(file.written(file.read() | {"b": 1}), 0.0)
    assert backup is not None
    assert backup.name == "settings.json.before-ccproxy-19700101T000000Z"
    assert backup.read_text() == '{"a": "ü"}'
    assert path.read_text() == '{\n  "a": "ü",\n  "b": 1\n}\n'
    assert [p.stat().st_mode & 0o777 for p in (backup, path)] == [0o600, 0o600]


def test_a_new_file_has_no_copy(tmp_path: Path) -> None:
    assert SettingsFile("claude", tmp_path / "new/settings.json").replace("{}", 0.0) is None


def test_the_shown_change_holds_no_token() -> None:
    settings = {"hooks": {"Stop": [claude_hooks(HookAccess("http://x", "s3cret", "m"))]}}
    text = SettingsFile("claude", Path("settings.json")).written(settings)
    lines = settings_difference("", text, Path("settings.json"), secrets_in(settings))
    assert any("(hidden)" in line for line in lines)
    assert not any("s3cret" in line for line in lines)
