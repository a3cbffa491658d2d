"""Misses of the prompt cache in a sentence and in rows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ccproxy.cli.cache_misses import miss_rows, week_sentence

NOON = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))


def misses(cause: str, count: int, usd: float) -> dict[str, Any]:
    return {"cache_cause": cause, "cache_misses": count, "cache_miss_usd": usd}


def test_a_week_is_summed_with_the_most_frequent_cause_first() -> None:
    week = [misses("tools", 3, 2.0), misses("idle", 8, 2.0), misses("messages", 1, 0.1)]
    assert week_sentence(week) == (
        "Last 7 days: 12 misses of the prompt cache cost $4.10 more than hits: 8 idle too long, "
        "3 tools changed, 1 earlier messages changed."
    )


@pytest.mark.parametrize(
    ("week", "sentence"),
    [
        ([], ""),
        (
            [misses("newer_cause", 1, 0.0)],
            "Last 7 days: 1 miss of the prompt cache cost $0.00 more than hits: 1 newer_cause.",
        ),
    ],
)
def test_a_week_without_misses_has_no_sentence(week: list[Any], sentence: str) -> None:
    assert week_sentence(week) == sentence


def test_a_miss_has_its_time_agent_tokens_cost_and_cause() -> None:
    record = {
        "sent_at": NOON, "agent_id": "", "cache_missed_tokens": 81_000, "cache_miss_usd": 0.49,
        "cache_explanation": "message 14 was rewritten",
    }  # fmt: skip
    unpriced = record | {"agent_id": "a1", "cache_miss_usd": None}
    assert list(miss_rows([record, unpriced], NOON)) == [
        ("12:00", "main", "81,000", "$0.49", "message 14 was rewritten"),
        ("12:00", "a1", "81,000", "", "message 14 was rewritten"),
    ]
