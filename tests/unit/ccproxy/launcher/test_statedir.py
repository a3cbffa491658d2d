from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.launcher.rundir import AlreadyRunning
from ccproxy.launcher.statedir import StateDirectory, stack_state_dir
from shared.settings.problems import ConfigurationError
from shared.settings.servers import ServerSettings


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_the_usual_run_directory_has_its_state_on_disk(home: Path) -> None:
    assert ServerSettings().run_dir == home / "runtime/ccproxy"
    assert stack_state_dir(ServerSettings()) == home / "state/ccproxy/stack"


def test_a_chosen_run_directory_has_its_state_in_it_unless_that_is_chosen_too(home: Path) -> None:
    assert stack_state_dir(ServerSettings(run_dir=home / "mine")) == home / "mine"
    assert (
        stack_state_dir(ServerSettings(run_dir=home / "mine", state_dir=home / "kept"))
        == home / "kept"
    )


def test_two_stacks_do_not_share_a_state_directory(home: Path) -> None:
    with StateDirectory(home / "state"), pytest.raises(AlreadyRunning, match="SERVER__STATE_DIR"):
        StateDirectory(home / "state", patience=0).__enter__()
    with StateDirectory(home / "state") as state:
        assert state.path.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be_made_is_one_sentence(home: Path) -> None:
    (home / "file").touch()
    with pytest.raises(
        ConfigurationError, match=r"state directory .* cannot be used: .*SERVER__STATE_DIR"
    ):
        StateDirectory(home / "file/state").__enter__()


def test_data_that_lies_in_the_run_directory_is_moved_once(home: Path) -> None:
    (home / "run/redis").mkdir(parents=True)
    (home / "run/redis/file.aof").write_text("kept")
    with StateDirectory(home / "state") as state:
        state.adopt(home / "run")
        assert (state.redis / "file.aof").read_text() == "kept"
        assert not (home / "run/redis").exists()
        (home / "run/redis").mkdir()
        state.adopt(home / "run")
        assert (state.redis / "file.aof").exists()
        state.adopt(state.path)
        assert (state.redis / "file.aof").exists()
