from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.launcher.redis_data import RedisData


@pytest.fixture
def data(tmp_path: Path) -> RedisData:
    (tmp_path / "redis").mkdir()
    return RedisData(tmp_path / "redis", tmp_path / "redis.log", clock=lambda: 86400.0)


def test_data_is_set_aside_by_name_and_time_and_put_back(data: RedisData, tmp_path: Path) -> None:
    (tmp_path / "redis/file").write_text("content")
    assert data.set_aside() == tmp_path / "redis.unreadable-19700102T000000Z"
    assert data.is_set_aside
    assert list((tmp_path / "redis").iterdir()) == []
    data.put_back()
    assert (tmp_path / "redis/file").read_text() == "content"
    assert not data.is_set_aside


def test_no_data_is_not_set_aside(data: RedisData, tmp_path: Path) -> None:
    assert data.set_aside() is None
    assert not data.is_set_aside


def test_kept_data_is_not_put_back(data: RedisData, tmp_path: Path) -> None:
    (tmp_path / "redis/file").touch()
    data.set_aside()
    data.keep()
    data.put_back()
    assert list((tmp_path / "redis").iterdir()) == []


@pytest.mark.parametrize(
    ("log", "blamed"),
    [
        ("# Bad file format reading the append only file x.aof: make a backup", True),
        ("*** FATAL AOF MANIFEST FILE ERROR ***", True),
        ("# Out of memory allocating 12 bytes", False),
        ("append only file\n" + "later words\n" * 1000, False),
        ("", False),
    ],
)
def test_the_end_of_the_log_tells_whether_the_file_is_to_blame(
    data: RedisData, tmp_path: Path, log: str, blamed: bool
) -> None:
    assert not data.is_blamed()
    (tmp_path / "redis.log").write_text(log)
    assert data.is_blamed() is blamed
