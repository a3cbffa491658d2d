"""The store of captures: private files, the oldest make room, and several gateways write."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest

from gateway.capture.store import CaptureStore, NoSuchCapture
from shared.captures.capture import Capture, Part, Summary

MEBIBYTE = 1024 * 1024


def capture(number: int, *, session: str = "", size: int = 0, at: float | None = None) -> Capture:
    # Random bytes in hexadecimal digits: a body of a's would be packed to nothing.
    body = os.urandom(size // 2).hex()
    moment = 1000.0 + number if at is None else at
    summary = Summary(f"req_{number:024x}", moment, path="/api/v1/messages", session=session)
    return Capture(summary, Part(body=body))


def names(store: CaptureStore) -> list[int]:
    return [int(each.id.removeprefix("req_"), 16) for each in store.summaries()]


def test_captures_are_listed_latest_first_and_read_whole(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path / "captures", MEBIBYTE)
    for number in (1, 2, 3):
        assert store.keep(capture(number, session="a" if number < 3 else "b", size=100))
    assert names(store) == [3, 2, 1]
    assert [each.id[-1] for each in store.summaries(session="a", limit=1)] == ["2"]
    assert len(store.get("req_" + "0" * 23 + "2").request.body) == 100
    assert store.size()[0] == 3


def test_files_and_directory_are_their_owner_s_alone(tmp_path: Path) -> None:
    directory = tmp_path / "captures"
    directory.mkdir(mode=0o755)
    CaptureStore(directory, MEBIBYTE).keep(capture(1))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    [file] = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path, 10_000)
    for number in range(10):
        assert store.keep(capture(number, size=4000))
    kept = names(store)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 9
    assert 1 < len(kept) < 10
    assert store.size()[1] <= 10_000


def test_a_capture_larger_than_the_store_is_not_kept_and_costs_no_other(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path, 5_000)
    store.keep(capture(1))
    assert not store.keep(capture(2, size=40_000))
    assert names(store) == [1]


def test_the_capture_before_is_of_the_same_session_address_and_model(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path, MEBIBYTE)
    for number, session in ((1, "a"), (2, "b"), (3, "a"), (4, "")):
        store.keep(capture(number, session=session))
    title = capture(5, session="a")
    title.summary.model = "small"
    store.keep(title)
    store.keep(capture(6, session="a"))

    def before(number: int, session: str) -> str:
        found = store.before(capture(number, session=session).summary)
        return found.summary.id[-1] if found else ""

    assert before(6, "a") == "3"
    assert before(3, "a") == "1"
    assert before(1, "a") == ""
    assert before(4, "") == ""


@pytest.mark.parametrize("name", ["", "req_1", "../x", "*", "req_" + "0" * 23 + "9"])
def test_an_unknown_id_is_not_found(tmp_path: Path, name: str) -> None:
    store = CaptureStore(tmp_path, MEBIBYTE)
    store.keep(capture(1))
    for use in (store.get, store.delete):
        with pytest.raises(NoSuchCapture):
            use(name)


def test_captures_are_deleted_one_or_all(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path, MEBIBYTE)
    for number in range(3):
        store.keep(capture(number))
    store.delete("req_" + "0" * 24)
    assert names(store) == [2, 1]
    assert store.clear() == 2
    assert names(store) == []


def test_a_file_that_is_no_capture_hides_no_other(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path, MEBIBYTE)
    store.keep(capture(1))
    (tmp_path / f"{5:015d}-req_{5:024x}.capture").write_bytes(b"\xff\n")
    assert names(store) == [1]


def test_the_draft_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    draft = tmp_path / ".000000000000001-req_1.capture.abc"
    draft.write_bytes(b"half")
    os.utime(draft, (time.time() - 3600,) * 2)
    CaptureStore(tmp_path, MEBIBYTE).keep(capture(1))
    assert not draft.exists()


def write_many(directory: Path, first: int) -> None:
    store = CaptureStore(directory, 20_000)
    for number in range(first, first + 20):
        store.keep(capture(number, size=3000))


def test_two_gateways_write_the_same_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=write_many, args=(tmp_path, first)) for first in (0, 100)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    store = CaptureStore(tmp_path, 20_000)
    for summary in store.summaries():
        assert store.get(summary.id).summary == summary
    # Each made room for its own file, without the one that the other was writing.
    assert store.size()[1] <= 24_000
