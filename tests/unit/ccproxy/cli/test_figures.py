"""Dollars, shares, lengths and times as every command shows them."""

from __future__ import annotations

import time

import pytest

from ccproxy.cli.figures import (
    clock,
    dollars,
    dollars_of_one,
    lasting,
    second_of_day,
    share,
    time_taken,
)

NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


def test_money_has_two_decimals_in_sums_and_four_for_one_request() -> None:
    assert (dollars(1234.5), dollars_of_one(0.00125)) == ("$1,234.50", "$0.0013")
    assert (dollars(0.001), dollars_of_one(0.00001)) == ("< $0.01", "< $0.0001")
    assert (dollars(0), dollars_of_one(0)) == ("$0.00", "$0.0000")


def test_a_share_is_in_percent_and_a_share_of_nothing_is_empty() -> None:
    assert (share(1, 3), share(0, 5), share(0, 0)) == ("33%", "0%", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3600, "1 h 00 min"), (93_700, "26 h 01 min")],
)
def test_a_length_of_time_has_at_most_two_units(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_a_time_on_another_day_has_its_day() -> None:
    assert clock(NOON + 60, NOON) == "12:01"
    assert clock(NOON + 86_400, NOON) == "Mon 23 Nov 12:00"


def test_a_request_shows_its_second_and_its_duration() -> None:
    assert (second_of_day(NOON + 5), time_taken(1234)) == ("12:00:05", "1.23 s")
    assert (time_taken(3.4), time_taken(999.4), time_taken(999.6)) == ("3 ms", "999 ms", "1.00 s")
