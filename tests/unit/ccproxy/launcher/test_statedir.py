from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ccproxy.launcher.rundir import AlreadyRunning
from ccproxy.launcher.statedir import StateDirectory
from shared.settings.problems import ConfigurationError
from shared.settings.servers import ServerSettings, stack_state_dir


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
        StateDirectory(home / "state", timeout=0).__enter__()
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


def rename_within_a_folder(source: Path, target: Path) -> None:
    """Rename as between two file systems that are mounted on two folders."""
    if source.parent != target.parent:
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    source.rename(target)


def test_data_on_another_file_system_is_copied_and_removed(home: Path) -> None:
    (home / "run/redis/appendonlydir").mkdir(parents=True)
    (home / "run/redis/appendonlydir/file.aof").write_text("kept")
    with StateDirectory(home / "state") as state:
        # What a start that was killed in the middle left behind.
        (state.path / "redis.unfinished").mkdir()
        (state.path / "redis.unfinished/half").touch()
        state.adopt(home / "run", rename=rename_within_a_folder)
        assert (state.redis / "appendonlydir/file.aof").read_text() == "kept"
        assert [path.name for path in state.redis.iterdir()] == ["appendonlydir"]
        assert not (home / "run/redis").exists()
        assert not (state.path / "redis.unfinished").exists()


def test_data_that_cannot_be_copied_whole_stay_where_they_are(home: Path) -> None:
    """A FIFO stands for a file that cannot be read."""
    (home / "run/redis").mkdir(parents=True)
    (home / "run/redis/a.aof").write_text("kept")
    os.mkfifo(home / "run/redis/b.aof")
    with StateDirectory(home / "state") as state:
        with pytest.raises(OSError, match="named pipe"):
            state.adopt(home / "run", rename=rename_within_a_folder)
        assert [path.name for path in state.path.iterdir()] == ["state.lock"]
        (home / "run/redis/b.aof").unlink()
        state.adopt(home / "run", rename=rename_within_a_folder)
        assert (state.redis / "a.aof").read_text() == "kept"
