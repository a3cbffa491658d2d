"""A used-up window is known until its reset, for its account and its models, and no longer than an
hour without a new refusal.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.accounts.used_up import (
    ASK_AGAIN_SECONDS,
    UsedUpWindow,
    merged_windows,
    window_refusing,
)

NOW = 1_796_000_000.0
WEEK = UsedUpWindow(NOW + 500_000, "7d", account="a", refused_at=NOW)


@pytest.mark.parametrize(
    ("model", "account", "after", "is_known"),
    [
        ("claude-opus-4-8", "a", 0.0, True),
        ("claude-opus-4-8", "b", 0.0, False),
        ("claude-opus-4-8", "a", ASK_AGAIN_SECONDS - 1, True),
        ("claude-opus-4-8", "a", ASK_AGAIN_SECONDS, False),
        ("claude-opus-4-8", "a", 500_000, False),
        ("claude-opus-4-8", "a", -1.0, False),
    ],
)
def test_a_window_is_known_for_an_hour_and_for_its_account(
    model: str, account: str, after: float, is_known: bool
) -> None:
    assert (window_refusing([WEEK], model, account, NOW + after) is WEEK) == is_known


def test_a_window_ends_with_its_reset() -> None:
    short = replace(WEEK, until=NOW + 10)
    assert window_refusing([short], "m", "a", NOW + 9) is short
    assert window_refusing([short], "m", "a", NOW + 10) is None


def test_a_window_of_some_models_refuses_those_only() -> None:
    opus = replace(WEEK, models="opus")
    assert window_refusing([opus], "claude-opus-4-8", "a", NOW) is opus
    assert window_refusing([opus], "claude-sonnet-5-5", "a", NOW) is None


def test_a_window_that_only_the_owners_limit_stops_is_not_the_providers() -> None:
    assert window_refusing([replace(WEEK, refused_at=0.0)], "m", "a", NOW) is None


def test_the_newest_refusal_knows_the_reset_and_the_first_payment_stays() -> None:
    paid = replace(WEEK, key_paid_at=NOW + 1)
    again = replace(WEEK, until=WEEK.until + 60, refused_at=NOW + 5, key_paid_at=NOW + 6)
    for pair in ([paid, again], [again, paid]):
        (found,) = merged_windows(pair, [], NOW)
        assert found == replace(again, key_paid_at=NOW + 1)


def test_another_window_of_the_same_models_has_not_been_paid_for() -> None:
    first = UsedUpWindow(NOW + 60, "5h", account="a", refused_at=NOW, key_paid_at=NOW)
    second = UsedUpWindow(NOW + 20_000, "5h", account="a", refused_at=NOW + 30)
    assert merged_windows([first], [second], NOW) == [second]


def test_windows_that_have_ended_are_forgotten() -> None:
    assert merged_windows([replace(WEEK, until=NOW)], [], NOW) == []


def test_accounts_models_and_causes_stay_apart_in_one_order() -> None:
    windows = [
        replace(WEEK, models="opus"),
        replace(WEEK, account="b"),
        replace(WEEK, refused_at=0.0),
        WEEK,
    ]
    found = merged_windows(windows, [], NOW)
    assert len(found) == 4
    assert merged_windows(reversed(windows), [], NOW) == found
