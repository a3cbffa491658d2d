"""What the terminal says of windows and money."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ccproxy.cli.usage import (
    forecast,
    group_rows,
    spent_rows,
    window_rows,
)

NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


def quota(**facts: Any) -> dict[str, Any]:
    window = {
        "window": "5h",
        "used_percent": 42.5,
        "resets_at": NOON + 3600,
        "percent_per_hour": 12.34,
        "empty_at": None,
    }
    return {"provider": "claude", "plan": "max", "extra_usage": False, "windows": [window | facts]}


def test_a_window_is_told_with_its_end_and_its_pace() -> None:
    (row,) = window_rows([quota()], NOON)
    assert row == ("claude max", "5h", "42.5 %", "13:00", "12.3 %/h", "lasts")


@pytest.mark.parametrize(
    ("empty_at", "words"),
    [(NOON + 8400, "empty at 14:20 at this pace"), (NOON, "used up"), (None, "lasts")],
)
def test_the_forecast_is_a_time_of_day(empty_at: float | None, words: str) -> None:
    assert forecast({"empty_at": empty_at}, NOON) == words


def test_extra_usage_is_said_and_an_ended_window_is_reset() -> None:
    (row,) = window_rows([quota(resets_at=NOON - 1) | {"extra_usage": True}], NOON)
    assert row[3] == "is reset"
    assert row[5] == "lasts, extra usage is paid for"


def spent(billed_to: str, cost: float, **facts: Any) -> dict[str, Any]:
    tokens = {
        "tokens_input": 600,
        "tokens_output": 400,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
    }
    return (
        {
            "span": "24h",
            "billed_to": billed_to,
            "model": "m",
            "requests": 2,
            "cost_usd": cost,
            "unpriced_tokens": 0,
        }
        | tokens
        | facts
    )


def test_what_was_paid_stands_beside_what_was_included() -> None:
    rows = [
        spent("api_key", 1.0),
        spent("extra_usage", 0.5),
        spent("subscription", 12.25),
        spent("unknown", 1),
    ]
    first, *others = spent_rows(rows)
    assert first == ("24 hours", "8", "4,000", "$1.50", "$12.25", "")
    assert others[0][1:5] == ("0", "0", "$0.00", "$0.00")


def test_tokens_without_a_price_are_told_and_never_free() -> None:
    first, *_ = spent_rows([spent("api_key", 0.0, model="new", unpriced_tokens=1000)])
    assert first[5] == "1,000 tokens of new"


def test_a_group_without_a_name_is_named() -> None:
    group = spent("api_key", 0.25) | {"name": "", "succeeded": 1}
    assert list(group_rows([group], "no token")) == [("no token", "2", "1", "1,000", "$0.25")]
