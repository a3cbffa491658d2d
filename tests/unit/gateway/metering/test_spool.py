"""Records on disk: whole, bounded, private, and nobody else's mess stops them."""

from __future__ import annotations

from pathlib import Path

from gateway.metering.spool import Spool
from shared.bus.channels import AccessRecord


def records(*ids: str) -> list[AccessRecord]:
    return [AccessRecord(request_id, 1.5, model="opus") for request_id in ids]


def test_the_oldest_comes_back_first_as_it_was(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10_000)
    assert spool.oldest() is None
    assert spool.keep(records("a", "b"))
    assert spool.keep(records("c"))
    path, found = spool.oldest() or (Path(), [])
    assert found == records("a", "b")
    spool.drop(path)
    spool.drop(path)
    assert (spool.oldest() or (Path(), []))[1] == records("c")


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10_000)
    spool.keep(records("a"))
    path, _ = spool.oldest() or (Path(), [])
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_beyond_the_bound_nothing_more_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2000)
    kept = [spool.keep(records("a")) for _ in range(5)]
    assert kept[0]
    assert not kept[-1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "0.records").write_text("[{")
    spool = Spool(tmp_path, 10_000)
    spool.keep(records("a"))
    assert (spool.oldest() or (Path(), []))[1] == records("a")
    assert (tmp_path / "0.unreadable").exists()


def test_a_file_that_was_never_finished_is_none(tmp_path: Path) -> None:
    (tmp_path / "0.unfinished").write_text("[")
    assert Spool(tmp_path, 10_000).oldest() is None


def test_a_place_that_cannot_be_written_to_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Spool(tmp_path / "file" / "spool", 10_000).keep(records("a"))
