"""The token for clients: shown, or put into the configuration file without disturbing it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ccproxy.cli.auth_token import generate

COMMENTED = """\
# my settings
[server]
port = 8123  # the usual

[security]
# friends
allowed_hosts = ["box.example"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file in use, which does not exist yet."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my.toml"
    monkeypatch.setenv("CONFIG_FILE", str(path))
    monkeypatch.delenv("SECURITY__AUTH_TOKEN", raising=False)
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    name, _, token = capsys.readouterr().out.strip().partition("=")
    assert name == "SECURITY__AUTH_TOKEN"
    return token


def test_a_token_is_long_and_never_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(save=False, force=False) == 0
    first = shown(capsys)
    generate(save=False, force=False)
    assert len(first) >= 43
    assert first != shown(capsys)


def test_saving_keeps_every_comment_and_closes_the_file(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(COMMENTED)
    assert generate(save=True, force=False) == 0
    text = config.read_text()
    assert text.startswith(COMMENTED)
    assert tomllib.loads(text)["security"]["auth_token"] == shown(capsys)
    assert config.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in config.parent.iterdir()] == ["my.toml"]


def test_a_file_that_is_not_there_is_made(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(save=True, force=False) == 0
    assert tomllib.loads(config.read_text()) == {"security": {"auth_token": shown(capsys)}}


def test_a_token_in_use_is_replaced_only_when_told_to(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(save=True, force=False)
    before = config.read_text()
    assert generate(save=True, force=False) == 78
    assert config.read_text() == before
    assert "--force" in capsys.readouterr().err
    assert generate(save=True, force=True) == 0
    assert config.read_text() != before


def test_a_stronger_setting_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECURITY__AUTH_TOKEN", "stronger")
    generate(save=True, force=False)
    assert "is stronger" in capsys.readouterr().err
    assert config.exists()


@pytest.mark.parametrize("text", ["[security", "security = 5"])
def test_a_file_that_makes_no_sense_is_left_alone(config: Path, text: str) -> None:
    config.write_text(text)
    assert generate(save=True, force=False) == 78
    assert config.read_text() == text
