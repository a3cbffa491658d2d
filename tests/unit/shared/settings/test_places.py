"""The directories follow the XDG base directory specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings.places import (
    config_dir,
    default_data_dir,
    default_run_dir,
    default_workspace,
    state_dir,
)


def test_each_directory_follows_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert config_dir() == tmp_path / "CONFIG_HOME/ccproxy"
    assert default_data_dir() == tmp_path / "DATA_HOME/ccproxy"
    assert default_workspace() == tmp_path / "DATA_HOME/ccproxy/workspace"
    assert state_dir() == tmp_path / "STATE_HOME/ccproxy"
    assert default_run_dir() == tmp_path / "STATE_HOME/ccproxy/run"


def test_the_runtime_directory_is_used_when_it_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_run_dir() == tmp_path / "ccproxy"
