"""Away: by hand, for a time, and in a window of every day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from permission_service.away import Away, changed_away, is_away, next_change, show_away
from shared.runtime.errors import ClientError

HOUR = 3600.0
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp()
NIGHT = Away(window="22:00-07:00")


def local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def away_at(away: Away, hour: float) -> bool:
    return is_away(away, NOON + (hour - 12) * HOUR, local)


def change(away: Away, hour: float = 12, **asked: Any) -> Away:
    return changed_away(away, asked, "bob", NOON + (hour - 12) * HOUR, local)


def test_nobody_is_away_before_saying_so() -> None:
    assert not away_at(Away(), 12)
    assert next_change(Away(), NOON, local) is None


def test_on_holds_until_off() -> None:
    away = change(Away(), state="on")
    assert away_at(away, 12)
    assert away_at(away, 500)
    assert not away_at(change(away, state="off"), 12)


def test_a_time_ends_by_itself() -> None:
    away = change(Away(), state="for", seconds=2 * HOUR)
    assert [away_at(away, hour) for hour in (12, 13.9, 14)] == [True, True, False]
    assert next_change(away, NOON, local) == NOON + 2 * HOUR


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [("22:00-07:00", [22, 23.9, 30.9], [21.9, 31, 36]), ("09:30-17:00", [9.5, 16.9], [9.4, 17])],
)
def test_a_window_counts_every_day(window: str, inside: list[float], outside: list[float]) -> None:
    away = change(Away(), state="daily", window=window)
    assert all(away_at(away, hour) and away_at(away, hour + 24) for hour in inside)
    assert not any(away_at(away, hour) or away_at(away, hour + 24) for hour in outside)


def test_off_inside_the_window_holds_until_the_window_ends() -> None:
    back = change(NIGHT, hour=23, state="off")
    assert [away_at(back, hour) for hour in (23, 30.9, 32, 46)] == [False, False, False, True]


def test_off_outside_the_window_changes_nothing_about_the_night() -> None:
    back = change(change(NIGHT, state="on"), state="off")
    assert [away_at(back, hour) for hour in (12, 22)] == [False, True]


def test_an_empty_window_ends_the_window() -> None:
    assert not away_at(change(NIGHT, state="daily", window=""), 23)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"state": "maybe"},
        {"state": "for"},
        {"state": "for", "seconds": 0},
        {"state": "for", "seconds": True},
        {"state": "for", "seconds": float("nan")},
        {"state": "for", "seconds": 1e12},
        {"state": "daily", "window": "25:00-07:00"},
        {"state": "daily", "window": "07:00-07:00"},
        {"state": "daily"},
    ],
)
def test_an_unclear_change_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        changed_away(Away(), asked, "bob", NOON, local)


def test_the_state_is_shown_with_its_next_change() -> None:
    shown = show_away(NIGHT, NOON, local)
    assert (shown["away"], shown["until"][:16]) == (False, "2026-03-05T22:00")
    assert next_change(NIGHT, NOON + 11 * HOUR, local) == NOON + 19 * HOUR
