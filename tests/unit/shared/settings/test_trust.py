"""Trust is for one path and one set of guarded values; a running stack holds to the settings of its
start.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.settings.files import ConfigurationFile, read_configuration
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings
from shared.settings.trust import (
    PINNED,
    PinnedSettings,
    TrustedFiles,
    advance_pinned,
    layers_of,
    pin_settings,
    pinned_from,
    refuse_untrusted,
    trust_file,
    untrusted,
    waiting_changes,
)

TEXT = "[claude]\nbase_url = 'https://a.example'\n"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", PINNED):
        monkeypatch.setenv(name, "")
    return tmp_path


def written(path: Path, text: str = TEXT) -> ConfigurationFile:
    path.write_text(text)
    return read_configuration(Settings, path)


def test_trust_holds_for_a_path_and_its_guarded_values(folder: Path) -> None:
    trusted, path = TrustedFiles(), folder / "ccproxy.toml"
    trusted.trust(written(path))
    assert trusted.trusts(written(path, "# a comment\n" + TEXT + "[sdk]\npool_size = 1\n"))
    assert not trusted.trusts(written(path, TEXT.replace("a.example", "b.example")))
    assert trusted.has_seen(read_configuration(Settings, path))
    other = written(folder / ".ccproxy.toml")
    assert not trusted.trusts(other)
    assert not trusted.has_seen(other)
    assert trust_file().stat().st_mode & 0o777 == 0o600
    assert trust_file().parent.stat().st_mode & 0o077 == 0


def test_a_folder_reached_through_a_link_is_the_same_folder(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    TrustedFiles().trust(written(folder / "real/ccproxy.toml"))
    assert TrustedFiles().trusts(read_configuration(Settings, folder / "link/ccproxy.toml"))


def test_trust_can_be_revoked(folder: Path) -> None:
    file = written(folder / "ccproxy.toml")
    TrustedFiles().trust(file)
    assert TrustedFiles().revoke(file.path)
    assert not TrustedFiles().trusts(file)
    assert not TrustedFiles().revoke(file.path)


@pytest.mark.parametrize("damaged", ["", "[]", "{", '"x"', '{"x": 1}'])
def test_a_damaged_list_trusts_nothing(folder: Path, damaged: str) -> None:
    file = written(folder / "ccproxy.toml")
    trust_file().parent.mkdir(parents=True)
    trust_file().write_text(damaged)
    assert untrusted([file], TrustedFiles()) == [file]
    TrustedFiles().trust(file)
    assert TrustedFiles().trusts(file)


def test_the_refusal_names_file_settings_and_command_and_no_value(folder: Path) -> None:
    file = written(folder / "ccproxy.toml")
    with pytest.raises(ConfigurationError) as refused:
        refuse_untrusted(Settings, [file])
    message = refused.value.message
    assert message.startswith(f"{file.path} sets CLAUDE__BASE_URL; ")
    assert f"`ccproxy config trust {file.path}`" in message
    assert "a.example" not in message
    assert message.count(". ") == 0


def test_a_running_stack_takes_guarded_settings_from_its_start(folder: Path) -> None:
    start = written(folder / "ccproxy.toml", TEXT + "[sdk]\npool_size = 1\n")
    pinned = pinned_from([start])
    changed = written(
        folder / "ccproxy.toml", "[claude]\ncli_path = 'evil'\n[sdk]\npool_size = 2\n"
    )
    TrustedFiles().trust(changed)
    settings = load_settings(pinned=pinned)
    assert (settings.claude.base_url, settings.claude.cli_path) == ("https://a.example", None)
    assert settings.sdk.pool_size == 2
    assert waiting_changes(Settings, [changed], pinned) == {
        "folder": ["CLAUDE__BASE_URL", "CLAUDE__CLI_PATH"]
    }
    assert waiting_changes(Settings, [start], pinned) == {}
    assert waiting_changes(Settings, [], pinned) == {"folder": ["CLAUDE__BASE_URL"]}


def test_the_owner_s_file_changes_a_running_stack_once_it_is_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIG_FILE", str(folder / "own.toml"))
    pinned = pinned_from([written(folder / "own.toml")])
    changed = written(folder / "own.toml", TEXT.replace("a.example", "b.example"))
    assert load_settings(pinned=pinned).claude.base_url == "https://a.example"
    assert waiting_changes(Settings, [changed], pinned) == {"own": ["CLAUDE__BASE_URL"]}
    TrustedFiles().trust(changed)
    assert load_settings(pinned=pinned).claude.base_url == "https://b.example"
    assert waiting_changes(Settings, [changed], pinned) == {}


def test_the_pinned_settings_travel_through_the_launcher_s_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(folder / "ccproxy.toml")
    TrustedFiles().trust(file)
    pinned = pin_settings(Settings)
    assert pinned == PinnedSettings([{"claude": {"base_url": "https://a.example"}}], [])
    (folder / "pinned.json").write_text(pinned.as_json())
    monkeypatch.setenv(PINNED, str(folder / "pinned.json"))
    written(folder / "ccproxy.toml", "[claude]\nbase_url = 'https://evil.example'\n")
    assert load_settings().claude.base_url == "https://a.example"
    assert pin_settings(Settings) == pinned


@pytest.mark.parametrize("content", [None, "", "[]", json.dumps({"folder": []})])
def test_without_the_launcher_s_file_a_service_does_not_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setenv(PINNED, str(folder / "pinned.json"))
    if content is not None:
        (folder / "pinned.json").write_text(content)
    with pytest.raises(ConfigurationError, match="start the stack again"):
        load_settings()


def test_untrusted_files_cannot_be_pinned(folder: Path) -> None:
    written(folder / "ccproxy.toml")
    with pytest.raises(ConfigurationError, match="ccproxy config trust"):
        pin_settings(Settings)


def test_layers_are_strongest_first(folder: Path) -> None:
    files = [
        written(folder / ".env", "SERVER__PORT=1\n"),
        written(folder / "ccproxy.toml", "[server]\nport = 2\n"),
    ]
    assert layers_of(files, None)[:2] == [{"server": {"port": "1"}}, {"server": {"port": 2}}]


def test_what_the_owner_has_trusted_since_the_start_outlives_an_untrusted_edit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIG_FILE", str(folder / "own.toml"))
    monkeypatch.setenv(PINNED, str(folder / "pinned.json"))
    pinned = PinnedSettings([], [])
    (folder / "pinned.json").write_text(pinned.as_json())
    token = written(folder / "own.toml", "[security]\nauth_token = 'mine'\n")
    assert advance_pinned([token], pinned) == pinned
    TrustedFiles().trust(token)
    pinned = advance_pinned([token], pinned)
    assert pinned.own == [{"security": {"auth_token": "mine"}}]
    assert pin_settings(Settings) == pinned
    edited = written(folder / "own.toml", "")
    assert advance_pinned([edited], pinned) == pinned
    assert load_settings().security.auth_token is not None
