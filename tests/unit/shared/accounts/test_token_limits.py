"""How a limit is written, the bucket that it counts in, and how much of it is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.accounts.quota import Quota, Window
from shared.accounts.token_limits import (
    WINDOWS,
    SpentSums,
    TokenLimit,
    WrittenLimits,
    bucket_of,
    parse_limit,
    subscription_of,
    window_of,
)
from shared.accounts.tokens import StoredToken

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()  # a Sunday


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("$5/day", TokenLimit(amount=5, unit="usd", per="day")),
        ("2.50 usd / week", TokenLimit(amount=2.5, unit="usd", per="week")),
        ("200k tokens/month", TokenLimit(amount=200_000, unit="tokens", per="month")),
        ("1.5M tokens/5h", TokenLimit(amount=1_500_000, unit="tokens", per="5h")),
        ("1 request/day", TokenLimit(amount=1, unit="requests", per="day")),
        ("20%/5h", TokenLimit(amount=20, unit="percent", per="5h")),
    ],
)
def test_a_limit_is_an_amount_per_time(text: str, limit: TokenLimit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@given(
    st.sampled_from(["usd", "tokens", "requests"]),
    st.sampled_from(["day", "week", "month", *WINDOWS]),
    st.integers(1, 10_000_000),
)
def test_a_limit_is_read_as_it_is_shown(unit: str, per: str, amount: int) -> None:
    limit = TokenLimit.model_validate({"amount": amount, "unit": unit, "per": per})
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no limit: write it as"),
        ("5", "is no limit"),
        ("5 dollars/day", "is no limit"),
        ("$1.2.3/day", "is no limit"),
        ("$5/hour", "per day, week, month, 5h or 7d"),
        ("$0/day", "more than 0"),
        ("$5k/day", "is no limit"),
        ("5k usd/day", "k and M go with tokens"),
        ("20%/day", "a share is of a subscription's window"),
        ("120%/5h", "100 % at most"),
    ],
)
def test_a_wrong_limit_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_limit(text)


def test_limits_are_read_as_people_write_them_and_as_programs_do() -> None:
    reader = TypeAdapter(WrittenLimits)
    written = [TokenLimit(amount=5, unit="usd", per="day"), parse_limit("20%/5h")]
    assert reader.validate_python(["$5/day", "20%/5h"]) == tuple(written)
    assert reader.validate_python([each.model_dump() for each in written]) == tuple(written)
    for wrong in (["$5/year"], ["$5/day", "$6/day"], [7], "$5/day"):
        with pytest.raises(ValidationError):
            reader.validate_python(wrong)


def test_a_token_has_one_limit_of_each_kind() -> None:
    limits = [parse_limit("$5/day"), parse_limit("$6/day")]
    with pytest.raises(ValidationError, match="two limits in usd per day"):
        StoredToken(name="a", sha256="0" * 64, limits=tuple(limits))


@pytest.mark.parametrize(
    ("span", "name", "end"),
    [
        ("day", "day:2026-11-29", datetime(2026, 11, 30, tzinfo=UTC)),
        ("week", "week:2026-11-23", datetime(2026, 11, 30, tzinfo=UTC)),
        ("month", "month:2026-11-01", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_bucket_of_the_calendar_ends_at_midnight(span, name: str, end: datetime) -> None:
    bucket = bucket_of(span, NOON, "claude", None)
    assert (bucket.name, bucket.ends_at) == (name, end.timestamp())
    assert bucket_of(span, NOON, "codex", None) == bucket


def quota(*windows: Window) -> Quota:
    return Quota("claude", NOON, list(windows))


def test_a_bucket_of_a_window_ends_with_the_window_that_the_provider_reported() -> None:
    reported = quota(Window("5h", 0.4, 18_000, NOON + 3601))
    bucket = bucket_of("5h", NOON, "claude", reported)
    assert bucket.ends_at == NOON + 3600
    moved = quota(Window("5h", 0.4, 18_000, NOON + 3590))
    assert bucket_of("5h", NOON, "claude", moved) == bucket


@pytest.mark.parametrize("known", [None, quota(Window("5h", 1, 18_000, NOON - 1))])
def test_a_window_that_is_not_known_is_counted_by_the_clock(known: Quota | None) -> None:
    bucket = bucket_of("5h", NOON, "codex", known)
    assert NOON < bucket.ends_at <= NOON + 18_000
    assert bucket_of("5h", bucket.ends_at - 1, "codex", known) == bucket
    assert bucket_of("5h", bucket.ends_at, "codex", known) != bucket
    assert window_of("5h", known, NOON) is None


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("$5/day", 0.5), ("1k tokens/day", 0.75), ("10 requests/day", 0.3), ("20%/5h", 1.25)],
)
def test_a_limit_tells_how_much_of_it_is_used(text: str, fraction: float) -> None:
    spent = SpentSums(2_500_000, 750, 3)
    everybody = SpentSums(5_000_000, 0, 0)
    assert parse_limit(text).used(spent, everybody, 0.5) == fraction


def test_a_share_of_nothing_is_nothing() -> None:
    assert parse_limit("20%/5h").used(SpentSums(), SpentSums(), 0.9) == 0


def test_requests_of_sdk_use_the_subscription_of_claude() -> None:
    assert [subscription_of(each) for each in ("sdk", "claude", "codex")] == [
        "claude", "claude", "codex",
    ]  # fmt: skip
