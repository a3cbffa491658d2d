"""Which files are in use, and what each says."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings.files import (
    own_file,
    read_configuration,
    read_files,
    toml_candidates,
    toml_files,
)
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "")
    own_file().parent.mkdir(parents=True)
    return folder


def test_files_are_read_strongest_first_and_divided(folder: Path) -> None:
    (folder / ".env").write_text(
        '# note\nexport SERVER__PORT=1\nSDK__POOL_SIZE="2"\nOTHER=3\nEMPTY__X=\n'
    )
    (folder / "ccproxy.toml").write_text("[server]\nport = 2\nworkers = 3\n")
    own_file().write_text("[redis]\nurl = 'redis://x'\n")
    env, toml, own = read_files(Settings)
    assert (env.path, env.owned, env.guarded, env.rest) == (
        Path(".env"), False, {"server": {"port": "1"}}, {"server": {}, "sdk": {"pool_size": "2"}},
    )  # fmt: skip
    assert (toml.path, toml.owned, toml.guarded_names(Settings)) == (
        Path("ccproxy.toml"),
        False,
        ["SERVER__PORT"],
    )
    assert (own.path, own.owned, own.guarded_names(Settings)) == (own_file(), True, ["REDIS__URL"])


def test_a_folder_elsewhere_can_be_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".ccproxy.toml").write_text("")
    monkeypatch.chdir("/")
    assert [file.path for file in read_files(Settings, folder)] == [folder / ".ccproxy.toml"]
    assert toml_candidates(folder)[:2] == [folder / ".ccproxy.toml", folder / "ccproxy.toml"]


def test_the_file_named_by_the_environment_replaces_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".ccproxy.toml").write_text("")
    (folder / "named.toml").write_text("[server]\nport = 2\n")
    monkeypatch.setenv("CONFIG_FILE", "named.toml")
    (named,) = read_files(Settings)
    assert (named.path, named.owned) == (Path("named.toml"), True)
    monkeypatch.setenv("CONFIG_FILE", "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml does not exist"):
        toml_files()


def test_a_file_is_the_owner_s_by_its_place_however_it_is_named(folder: Path) -> None:
    own_file().write_text("")
    (folder / "link.toml").symlink_to(own_file())
    assert read_configuration(Settings, folder / "link.toml").owned


@pytest.mark.parametrize("name", [".env", "ccproxy.toml"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=name):
        read_files(Settings)
