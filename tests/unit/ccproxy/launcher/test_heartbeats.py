"""A program that falls silent is named once; so is one of ours that is never heard; no other is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.heartbeats import Heartbeats

Beat = Callable[[object], None]


@pytest.fixture
def heartbeats(tmp_path: Path) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats(str(tmp_path / "beats"), silent_seconds=15, first_beat_seconds=60)
    yield heartbeats
    heartbeats.close()


@pytest.fixture
def beat(heartbeats: Heartbeats, tmp_path: Path) -> Iterator[Beat]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        yield lambda pid: sender.sendto(str(pid).encode(), str(tmp_path / "beats")) and None


def silent_until(
    heartbeats: Heartbeats,
    living: list[int],
    first: float,
    last: float,
    owing: Collection[int] = (),
) -> list[int]:
    """Look twice a second from `first` to `last`; return every process id that was named."""
    looks = [first + step / 2 for step in range(int((last - first) * 2) + 1)]
    return [pid for now in looks for pid in heartbeats.silent(living, now, owing)]


def test_a_program_that_falls_silent_is_named_once(heartbeats: Heartbeats, beat: Beat) -> None:
    beat(7)
    assert silent_until(heartbeats, [7, 8], 0, 14.5) == []
    assert silent_until(heartbeats, [7, 8], 15, 60) == [7]


def test_a_beat_ends_the_silence(heartbeats: Heartbeats, beat: Beat) -> None:
    beat(7)
    assert silent_until(heartbeats, [7], 0, 14) == []
    beat(7)
    assert silent_until(heartbeats, [7], 14.5, 29) == []


def test_a_program_that_owes_heartbeats_and_is_never_heard_is_named_once(
    heartbeats: Heartbeats,
) -> None:
    assert silent_until(heartbeats, [7, 8], 0, 59.5, owing={7}) == []
    assert silent_until(heartbeats, [7, 8], 60, 119.5, owing={7}) == [7]
    assert heartbeats.allowed(7) == 60


def test_the_first_heartbeat_of_a_program_that_owes_them_shortens_its_time(
    heartbeats: Heartbeats, beat: Beat
) -> None:
    assert silent_until(heartbeats, [7], 0, 50, owing={7}) == []
    beat(7)
    assert silent_until(heartbeats, [7], 50.5, 65, owing={7}) == []
    assert silent_until(heartbeats, [7], 65.5, 70, owing={7}) == [7]


def test_a_program_with_the_process_id_of_an_ended_one_has_a_starts_time(
    heartbeats: Heartbeats, beat: Beat
) -> None:
    beat(7)
    assert silent_until(heartbeats, [7], 0, 10, owing={7}) == []
    assert silent_until(heartbeats, [], 10.5, 11) == []
    assert silent_until(heartbeats, [7], 11.5, 71, owing={7}) == []
    assert silent_until(heartbeats, [7], 71.5, 80, owing={7}) == [7]


def test_a_program_that_never_beats_is_left_alone(heartbeats: Heartbeats) -> None:
    assert silent_until(heartbeats, [7], 0, 100) == []


def test_a_time_in_which_nobody_ran_counts_as_one_second(
    heartbeats: Heartbeats, beat: Beat
) -> None:
    beat(7)
    assert heartbeats.silent([7], 0) == []
    assert heartbeats.silent([7], 100_000) == []
    assert silent_until(heartbeats, [7], 100_000.5, 100_013.5) == []
    assert silent_until(heartbeats, [7], 100_014, 100_020) == [7]


def test_a_process_that_ended_is_forgotten(heartbeats: Heartbeats, beat: Beat) -> None:
    beat(7)
    assert silent_until(heartbeats, [7], 0, 10) == []
    assert silent_until(heartbeats, [], 10.5, 11) == []
    assert silent_until(heartbeats, [7], 11.5, 60) == []


@pytest.mark.parametrize("message", ["", "x", "-7", "999999999999999999999999999999999999"])
def test_a_message_that_is_no_process_id_changes_nothing(
    heartbeats: Heartbeats, beat: Beat, message: str
) -> None:
    beat(message)
    assert silent_until(heartbeats, [7], 0, 60) == []


def test_a_socket_left_by_a_killed_supervisor_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.touch()
    Heartbeats(str(left)).close()
    assert not left.exists()
