"""A key that pays after the subscription is one line for a person."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ccproxy.cli.key_use import key_use_lines, order_line
from shared.settings.tree import load_settings

NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


def order(spent: float, **window: Any) -> dict[str, Any]:
    return {
        "provider": "claude",
        "spent_today_usd": spent,
        "usd_per_day": 5.0,
        "day_ends_at": NOON + 43_200,
        "used_up": [{"until": NOON + 3600, "key_paid_since": None} | window] if window else [],
    }


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (order(0), "$0.00 of $5.00 today; it waits until the subscription is used up"),
        (order(1.25, key_paid_since=NOON), "it pays until the window resets at 13:00"),
        (order(1.25, key_paid_since=None), "it waits until the subscription is used up"),
        (order(5.5, key_paid_since=NOON), "$5.50 of $5.00 today; its limit begins anew at Mon 23"),
    ],
)
def test_the_line_names_todays_use_and_the_next_change(facts: dict[str, Any], words: str) -> None:
    assert words in order_line(facts, NOON)


def test_there_is_no_line_without_such_a_key() -> None:
    assert key_use_lines(load_settings()) == []


def test_the_limit_is_named_while_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        server={"port": 1}, claude={"when_used_up": {"api_key": "k", "usd_per_day": 5}}
    )
    (line,) = key_use_lines(settings)
    assert line.startswith("claude: the API key may spend $5.00 a day; today's use is not known: ")
