"""`ccproxy usage`: what is left of each subscription, what was spent, and what the subscriptions
were worth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_table
from shared.settings.tree import load_settings

SPANS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
PAID = {"api_key", "extra_usage"}
WINDOWS = ("SUBSCRIPTION", "WINDOW", "USED", "RESETS", "PACE", "FORECAST")
SPENT = ("LAST", "REQUESTS", "TOKENS", "PAID", "INCLUDED, BY LIST PRICE", "WITHOUT A KNOWN PRICE")

Facts = dict[str, Any]


def show_usage(*, as_json: bool, refresh_prices: bool) -> int:
    """Print the usage and return the exit code. Raises NotRunning or Unanswered."""
    with connection(load_settings()) as client:
        if refresh_prices:
            say_to_a_person("Fetching the price list.")
            fetched = checked(client.post("/usage/prices/refresh", json={})).json()
            say(f"{fetched['models']} prices as of {fetched['prices_as_of']}.")
        usage = checked(client.get("/usage")).json()
    if as_json:
        show_json(usage)
        return FAILED if usage["problem"] else DONE
    if windows := list(window_rows(usage["quota"], time.time())):
        show_table(WINDOWS, windows)
    else:
        say("No subscription has told its limits yet: they come with the first reply.")
    if usage["problem"]:
        say(f"What was spent cannot be told now: {usage['problem']}")
        return FAILED
    say("")
    show_table(SPENT, spent_rows(usage["spent"]))
    say(f"List prices as of {usage['prices_as_of']}.")
    return DONE


def window_rows(quotas: list[Facts], now: float) -> Iterator[tuple[str, ...]]:
    for quota in quotas:
        name = f"{quota['provider']} {quota['plan']}".strip()
        for window in quota["windows"]:
            yield (
                name,
                window["window"],
                f"{window['used_percent']:g} %",
                clock(window["resets_at"], now) if window["resets_at"] > now else "is reset",
                f"{window['percent_per_hour']:.1f} %/h",
                forecast(window, now)
                + (", extra usage is paid for" if quota["extra_usage"] else ""),
            )


def forecast(window: Facts, now: float) -> str:
    empty = window["empty_at"]
    if empty is None:
        return "lasts"
    return "used up" if empty <= now + 1 else f"empty at {clock(empty, now)} at this pace"


def clock(at: float, now: float) -> str:
    """Return a time of day in the reader's own zone, with the day if it is another day."""
    when = datetime.fromtimestamp(at).astimezone()
    today = datetime.fromtimestamp(now).astimezone()
    return when.strftime("%H:%M" if when.date() == today.date() else "%a %d %b %H:%M")


def spent_rows(spent: list[Facts]) -> Iterator[tuple[str, ...]]:
    for span, words in SPANS.items():
        rows = [row for row in spent if row["span"] == span]
        paid = sum(row["cost_usd"] for row in rows if row["billed_to"] in PAID)
        included = sum(row["cost_usd"] for row in rows if row["billed_to"] not in PAID)
        tokens = sum(tokens_in_row(row) for row in rows)
        unpriced = sorted({row["model"] for row in rows if row["unpriced_tokens"]})
        yield (
            words,
            f"{sum(row['requests'] for row in rows):,}",
            f"{tokens:,}",
            f"${paid:,.2f}",
            f"${included:,.2f}",
            f"{sum(row['unpriced_tokens'] for row in rows):,} tokens of {', '.join(unpriced)}"
            if unpriced
            else "",
        )


def tokens_in_row(row: Facts) -> int:
    kinds = ("tokens_input", "tokens_output", "cache_read_tokens", "cache_write_tokens")
    return sum(int(row[kind]) for kind in kinds)
