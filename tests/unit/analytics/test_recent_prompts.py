"""The prompts that later prompts are compared with: bounded, and unharmed by what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analytics.recent_prompts import MOST_OF_CONVERSATION, RecentPrompts
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord
from shared.bus.fingerprints import Mark, PromptFingerprint

PRICES = Prices(Path("nowhere/price-list.json"))
NOON = 1_790_000_000.0


def sent(number: int, *messages: int, session: str = "s", **facts: Any) -> AccessRecord:
    count = len(messages)
    prompt = PromptFingerprint(
        "messages", {}, (), (1,), messages, (Mark(count, count, 300),), count
    )
    return AccessRecord(
        f"r{number}",
        NOON + number,
        session_id=session,
        provider="claude",
        model="claude-opus-4-1",
        fingerprint=prompt.written(),
        **{"cache_write_tokens": 5000, **facts},
    )


def causes(prompts: RecentPrompts, *records: AccessRecord) -> list[str]:
    prompts.explain(records)
    return [record.cache_cause for record in records]


def test_a_fingerprint_that_cannot_be_read_costs_only_its_explanation() -> None:
    broken = sent(1, 1)
    broken.fingerprint = "[9]"
    assert causes(RecentPrompts(PRICES), broken, sent(2, 1)) == ["", "first"]
    assert broken.fingerprint == ""


def test_records_of_one_batch_are_compared_in_the_order_in_which_they_were_sent() -> None:
    later = sent(2, 1, 2, cache_read_tokens=5000)
    assert causes(RecentPrompts(PRICES), later, sent(1, 1)) == ["", "first"]


def test_the_conversation_that_was_silent_for_longest_is_forgotten_first() -> None:
    size = len(sent(0, 1).fingerprint)
    prompts = RecentPrompts(PRICES, most_bytes=size * 2)
    assert (
        causes(prompts, *(sent(each, 1, session=f"s{each}") for each in (1, 2, 3))) == ["first"] * 3
    )
    known = sent(4, 1, session="s3", cache_read_tokens=5000, cache_write_tokens=0)
    forgotten = sent(5, 1, session="s1")
    assert causes(prompts, known, forgotten) == ["", "first"]


def test_a_conversation_keeps_only_its_last_prompts() -> None:
    prompts = RecentPrompts(PRICES)
    # Each of its own, so that none of them continues another one.
    many = [sent(each, each, each + 1000) for each in range(1, MOST_OF_CONVERSATION + 3)]
    prompts.explain(many)
    first = many[0]
    again = sent(50, *(1, 1001), cache_read_tokens=5000, cache_write_tokens=0)
    assert first.cache_cause == "first"
    # Compared with the closest that is left, not with the first one.
    assert causes(prompts, again) == [""]
    assert sum(len(kept) for kept in prompts._kept.values()) == MOST_OF_CONVERSATION


def test_after_a_reset_nothing_is_compared_with_forgotten_prompts() -> None:
    prompts = RecentPrompts(PRICES)
    causes(prompts, sent(1, 1))
    prompts.forget()
    assert causes(prompts, sent(2, 1, 2)) == ["first"]
