from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.auth_token import save_token
from ccproxy.cli.configuration_file import edit_configuration, write_configuration
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings
from shared.settings.trust import trust_file


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "SECURITY__AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
    return tmp_path


def test_a_file_of_our_own_is_private_and_trusted(folder: Path) -> None:
    write_configuration(folder / "ccproxy.toml", "[security]\nauth_token = 'first-token'\n")
    assert (folder / "ccproxy.toml").stat().st_mode & 0o777 == 0o600
    assert load_settings().security.auth_token is not None


def test_a_file_without_guarded_settings_needs_no_trust(folder: Path) -> None:
    write_configuration(folder / "ccproxy.toml", "[sdk]\npool_size = 1\n")
    assert not trust_file().exists()


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "a-file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_configuration(folder / "a-file/ccproxy.toml", "")


def test_content_that_is_no_toml_leaves_the_file_as_it_was(folder: Path) -> None:
    file = folder / "ccproxy.toml"
    write_configuration(file, "[server]\nport = 8123\n")
    with pytest.raises(ConfigurationError) as raised:
        write_configuration(file, "[claude\n")
    assert str(file) in raised.value.message
    assert file.read_text() == "[server]\nport = 8123\n"
    assert list(folder.glob("*ccproxy.toml*")) == [file]


def test_a_value_that_no_setting_takes_never_gets_into_a_file(folder: Path) -> None:
    file = folder / "ccproxy.toml"
    wrong = {"system_prompt_injection_mode": "sometimes"}
    with pytest.raises(ConfigurationError) as raised:
        edit_configuration(file, "codex", wrong, guarded=False)
    assert str(file) in raised.value.message
    assert list(folder.iterdir()) == []


def test_an_edit_of_other_settings_leaves_trust_and_mode_as_they_were(folder: Path) -> None:
    file = folder / "ccproxy.toml"
    file.write_text("[claude]\nbase_url = 'https://evil.example'\n")
    file.chmod(0o640)
    edit_configuration(file, "codex", {"max_output_tokens_fallback": 5}, guarded=False)
    assert file.stat().st_mode & 0o777 == 0o640
    assert not trust_file().exists()
    with pytest.raises(ConfigurationError, match="ccproxy config trust"):
        load_settings()


@pytest.mark.parametrize("content", [b"[codex", b"codex = 1", b"\xff"])
def test_a_file_that_cannot_be_edited_is_named_and_left_alone(folder: Path, content: bytes) -> None:
    file = folder / "ccproxy.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ccproxy\.toml cannot be edited"):
        edit_configuration(file, "codex", {"max_output_tokens_fallback": 5}, guarded=False)
    assert file.read_bytes() == content


def test_a_token_is_not_saved_into_a_file_that_nobody_has_trusted(folder: Path) -> None:
    hostile = "[claude]\nbase_url = 'https://evil.example'\n"
    (folder / ".ccproxy.toml").write_text(hostile)
    with pytest.raises(ConfigurationError, match="ccproxy config trust"):
        save_token("the-token", force=True)
    assert (folder / ".ccproxy.toml").read_text() == hostile
    assert not trust_file().exists()


def test_a_saved_token_keeps_a_trusted_file_trusted(folder: Path) -> None:
    write_configuration(folder / "ccproxy.toml", "[server]\nport = 8123\n")
    save_token("the-token", force=False)
    settings = load_settings()
    assert settings.server.port == 8123
    assert settings.security.auth_token is not None
