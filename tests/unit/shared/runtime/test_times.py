from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.runtime.times import (
    in_daily_window,
    is_daily_window,
    iso_time,
    iso_time_or_none,
    local_clock,
    local_minute,
    minute_in_utc,
    read_span,
)


def test_a_time_is_written_in_utc() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00+00:00"


def test_an_unknown_time_stays_unknown() -> None:
    assert iso_time_or_none(None) is None
    assert iso_time_or_none(1.5) == "1970-01-01T00:00:01.500000+00:00"


def test_a_person_reads_a_time_to_the_minute() -> None:
    assert minute_in_utc(59.9) == "1970-01-01 00:00 UTC"


@pytest.mark.parametrize(
    ("text", "is_window"),
    [
        ("22:00-07:00", True),
        ("00:00-23:59", True),
        ("", False),
        ("07:00-07:00", False),
        ("24:00-07:00", False),
        ("7:00-22:00", False),
        ("22:00-07:00-", False),
    ],
)
def test_a_window_is_two_different_times_of_a_day(text: str, is_window: bool) -> None:
    assert is_daily_window(text) is is_window


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        ("12:00-12:01", True),
        ("11:00-12:00", False),
        ("22:00-12:01", True),
        ("22:00-12:00", False),
        ("", False),
    ],
)
def test_a_window_has_its_start_and_not_its_end(window: str, inside: bool) -> None:
    assert in_daily_window(window, datetime(2026, 1, 2, 12, 0, 59, tzinfo=UTC)) is inside


@pytest.mark.parametrize(
    ("text", "units", "seconds"),
    [
        ("2h", "mhd", 7200),
        ("1.5d", "mhd", 129_600),
        ("30m", "mhd", 1800),
        ("30m", "hd", None),
        ("2w", "mhd", None),
        ("2", "mhd", None),
        ("2 h", "mhd", None),
        ("-2h", "mhd", None),
    ],
)
def test_a_span_is_a_number_with_a_unit(text: str, units: str, seconds: float | None) -> None:
    assert read_span(text, units) == seconds


def test_a_clock_shows_the_zone_of_this_machine() -> None:
    here = datetime(2026, 5, 1, 13, 2, 3).astimezone()
    assert local_clock(here.astimezone(UTC).isoformat()) == "13:02:03"
    assert local_minute(here.astimezone(UTC).isoformat()) == here.strftime("%Y-%m-%d %H:%M")
    with pytest.raises(ValueError, match="Invalid isoformat"):
        local_clock("soon")
