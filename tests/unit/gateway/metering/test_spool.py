"""Records on disk: whole, bounded, private, and nobody else's mess stops them."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.metering.spool import Spool
from shared.bus.channels import AccessRecord
from shared.runtime.log import NAME


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
    (tmp_path / ".0.records.k3x9").write_text("[")
    assert Spool(tmp_path, 10_000).oldest() is None


def test_a_place_that_cannot_be_written_to_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Spool(tmp_path / "file" / "spool", 10_000).keep(records("a"))


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let every write beyond `size` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_no_file_behind(tmp_path: Path) -> None:
    with files_limited_to(10):
        assert not Spool(tmp_path, 10_000).keep(records("a"))
    assert list(tmp_path.iterdir()) == []


class OtherGateway(logging.Handler):
    """Sets `path` aside as soon as the gateway under test has found `path` unreadable."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "spool_file_unreadable":
            self._path.rename(self._path.with_suffix(".unreadable"))


def test_two_gateways_may_set_the_same_unreadable_file_aside(tmp_path: Path) -> None:
    damaged = tmp_path / "0.records"
    damaged.write_text("[{")
    spool = Spool(tmp_path, 10_000)
    spool.keep(records("a"))
    other = OtherGateway(damaged)
    log = logging.getLogger(NAME)
    log.addHandler(other)
    try:
        found = spool.oldest()
    finally:
        log.removeHandler(other)
    assert (found or (Path(), []))[1] == records("a")
    assert (tmp_path / "0.unreadable").exists()


def test_an_unreadable_file_that_cannot_be_renamed_holds_up_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "0.records").write_text("[{")
    (tmp_path / "0.unreadable").mkdir()
    spool = Spool(tmp_path, 10_000)
    spool.keep(records("a"))
    assert (spool.oldest() or (Path(), []))[1] == records("a")


def test_a_file_that_cannot_be_removed_is_not_read_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.keep(records("a"))
    path, _ = spool.oldest() or (Path(), [])
    path.unlink()
    path.mkdir()  # a directory cannot be unlinked
    spool.drop(path)
    assert spool.oldest() is None
    assert path.exists()
