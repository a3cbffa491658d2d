from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings.problems import ConfigurationError
from shared.settings.snapshot import SNAPSHOT, read_snapshot, snapshot_text, write_snapshot
from shared.settings.tree import load_settings, resolve_settings
from shared.settings.trust import PINNED, PinnedSettings


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder of a service, without configuration; the snapshot is `settings.json` in
    it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", PINNED):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(SNAPSHOT, str(tmp_path / "settings.json"))
    return tmp_path


@pytest.mark.parametrize(
    "broken",
    ["[models\n", "[models]\naliasses = {}\n", "[sdk]\nworkers = 'many'\n", "[server]\nport = 1\n"],
)
def test_a_service_started_beside_a_file_that_broke_has_the_settings_of_the_start(
    folder: Path, broken: str
) -> None:
    (folder / "ccproxy.toml").write_text("[models]\naliases = {fast = 'haiku'}\n")
    _, layers = resolve_settings(PinnedSettings([], []))
    write_snapshot(layers)
    (folder / "ccproxy.toml").write_text(broken)
    assert load_settings().models.aliases == {"fast": "haiku"}
    assert load_settings().server.port == 8000


def test_the_environment_is_stronger_than_the_snapshot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot([{"sdk": {"workers": 3, "pool_size": 2}}])
    monkeypatch.setenv("SDK__WORKERS", "5")
    assert load_settings().sdk.workers == 5
    assert load_settings().sdk.pool_size == 2


@pytest.mark.parametrize(
    "content", [None, "", "nothing", "{}", "[1]", '[{"sdk": {"workers": "many"}}]']
)
def test_a_snapshot_that_cannot_be_used_is_named(folder: Path, content: str | None) -> None:
    if content is not None:
        (folder / "settings.json").write_text(content)
    with pytest.raises(
        ConfigurationError, match=r"settings\.json, written by `ccproxy serve`, cannot be used"
    ):
        load_settings()


def test_a_process_that_no_launcher_started_has_no_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SNAPSHOT, "")
    write_snapshot([{"sdk": {"workers": 3}}])
    assert read_snapshot() is None


def test_the_snapshot_is_readable_by_its_owner_alone(folder: Path) -> None:
    write_snapshot([{"security": {"auth_token": "s3cret"}}])
    assert (folder / "settings.json").stat().st_mode & 0o777 == 0o600
    assert snapshot_text([{"a": {"b": 1}}]) == '[{"a": {"b": 1}}]'
