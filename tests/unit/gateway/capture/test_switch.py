"""Switches of capture: shared through a file, ended by time, and never on because of damage."""

from __future__ import annotations

import multiprocessing
import stat
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.capture.switch import MOST_SWITCHES, CaptureSwitch, SwitchFile, SwitchOn
from shared.runtime.errors import ClientError

LATER = time.time() + 3600


def test_a_switch_wants_the_requests_of_its_own_only() -> None:
    assert CaptureSwitch("token", "laptop", LATER).wants("laptop", "s")
    assert not CaptureSwitch("token", "laptop", LATER).wants("phone", "laptop")
    assert CaptureSwitch("session", "s", LATER).wants("laptop", "s")
    assert not CaptureSwitch("session", "s", LATER).wants("s", "")
    assert CaptureSwitch("everything", "", LATER).wants("", "")


def test_another_process_reads_the_switch(tmp_path: Path) -> None:
    switch = CaptureSwitch("session", "s1", LATER, "owner")
    SwitchFile(tmp_path / "captures").add(switch)
    assert SwitchFile(tmp_path / "captures").read() == (switch,)


def test_the_file_and_its_directory_are_their_owner_s_alone(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path / "captures")
    file.add(CaptureSwitch("everything", "", LATER))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_a_switch_for_the_same_replaces_the_one_before(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path)
    file.add(CaptureSwitch("token", "a", LATER))
    assert file.add(CaptureSwitch("token", "a", LATER + 5)) == (
        CaptureSwitch("token", "a", LATER + 5),
    )


def test_one_switch_or_all_are_removed(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path)
    for name in "abc":
        file.add(CaptureSwitch("token", name, LATER))
    assert [each.name for each in file.remove("token", "b")] == ["a", "c"]
    assert file.remove() == ()
    assert file.read() == ()


def test_a_switch_whose_time_is_over_is_off(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path)
    file.add(CaptureSwitch("everything", "", time.time() - 1))
    assert file.read() == ()


def test_a_damaged_file_switches_nothing_on_and_is_replaced_by_the_next_change(
    tmp_path: Path,
) -> None:
    file = SwitchFile(tmp_path)
    file.path.write_text('[{"kind":"everything"')
    with pytest.raises(ValueError, match="JSON"):
        file.read()
    assert len(file.add(CaptureSwitch("token", "a", LATER))) == 1


def test_the_number_of_switches_is_limited(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path)
    for number in range(MOST_SWITCHES):
        file.add(CaptureSwitch("token", f"t{number}", LATER))
    with pytest.raises(ClientError):
        file.add(CaptureSwitch("token", "one more", LATER))
    assert len(file.add(CaptureSwitch("token", "t0", LATER))) == MOST_SWITCHES


def add_switches(directory: Path, first: int) -> None:
    for number in range(first, first + 5):
        SwitchFile(directory).add(CaptureSwitch("token", f"t{number}", LATER))


def test_two_processes_that_switch_at_a_time_lose_no_switch(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=add_switches, args=(tmp_path, first)) for first in (0, 10)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert len(SwitchFile(tmp_path).read()) == 10


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"kind": "model", "name": "x"},
        {"kind": "token"},
        {"kind": "everything", "name": "x"},
        {"kind": "everything", "seconds": 0},
        {"kind": "everything", "seconds": 1e9},
        {"kind": "session", "name": "x" * 300},
        {"kind": "everything", "more": 1},
    ],
)
def test_a_wish_without_sense_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SwitchOn.model_validate(wish)


def test_a_wish_becomes_a_switch_that_ends_by_itself() -> None:
    before = time.time()
    switch = SwitchOn(kind="token", name="laptop", seconds=60).switch("owner")
    assert before + 60 <= switch.until <= time.time() + 60
    assert str(switch) == "token laptop"
    assert switch.shown()["by"] == "owner"
