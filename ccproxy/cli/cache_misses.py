"""What misses of the providers' prompt caches cost, in one sentence and as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ccproxy.cli.figures import clock, dollars

Facts = dict[str, Any]

MISS_COLUMNS = ("CACHE MISS", "AGENT", "TOKENS", "COST MORE", "WHY")
# By the cause in records: the words behind a number.
CAUSES = {
    "account": "another account paid",
    "dropped": "dropped by the provider",
    "idle": "idle too long",
    "lookback": "too many blocks at once",
    "marks": "less marked for the cache",
    "messages": "earlier messages changed",
    "model": "model changed",
    "parallel": "sent at the same time",
    "settings": "settings changed",
    "system": "system prompt changed",
    "tools": "tools changed",
    "unmarked": "nothing marked for the cache",
}


def week_sentence(misses: Iterable[Facts]) -> str:
    """Return what the misses of the last week cost, by cause with the most frequent first; an empty
    text without a miss.
    """
    rows = sorted(misses, key=lambda row: -row["cache_misses"])
    count = sum(row["cache_misses"] for row in rows)
    if not count:
        return ""
    cost = sum(row["cache_miss_usd"] for row in rows)
    causes = ", ".join(
        f"{row['cache_misses']:,} {CAUSES.get(row['cache_cause'], row['cache_cause'])}"
        for row in rows
    )
    noun = "miss" if count == 1 else "misses"
    return (
        f"Last 7 days: {count:,} {noun} of the prompt cache cost {dollars(cost)} more than hits: "
        f"{causes}."
    )


def miss_rows(records: Iterable[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each record of a miss; its time, as an answer of `/logs/entries` has it,
    is `sent_at` in UTC seconds.
    """
    for record in records:
        cost = record["cache_miss_usd"]
        yield (
            clock(record["sent_at"], now),
            record["agent_id"] or "main",
            f"{record['cache_missed_tokens']:,}",
            "" if cost is None else dollars(cost),
            record["cache_explanation"],
        )
