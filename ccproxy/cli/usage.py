"""`ccproxy usage`: what is left of each subscription, what was spent, and what the subscriptions
were worth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx

from ccproxy.cli.cache_misses import week_sentence
from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.figures import clock, dollars
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.key_use import order_line
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.statusline import ANSWER_SECONDS, statusline
from shared.runtime.errors import CCProxyError
from shared.runtime.visible_text import visible_line
from shared.settings.tree import load_settings

SPANS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
PAID = ("api_key", "extra_usage")
SUBSCRIPTION = "subscription"
ONE_CENT = 0.01
WINDOWS = ("SUBSCRIPTION", "WINDOW", "USED", "RESETS", "PACE", "FORECAST")
SPENT = ("LAST", "REQUESTS", "TOKENS", "PAID", "INCLUDED", "UNPRICED")
NO_QUOTA = "No quota data yet; it appears after the first request to each provider."
PARTS = {"model": "MODEL", "client_program": "CLIENT", "caller": "TOKEN"}
NAMELESS = {"model": "no model", "client_program": "unknown", "caller": "no token"}

Facts = dict[str, Any]


def show_usage(*, as_json: bool, refresh_prices: bool) -> int:
    """Print the usage and return the exit code. Raises NotRunning or Unanswered."""
    with connection(load_settings()) as client:
        if refresh_prices:
            say_to_a_person("Fetching the price list.")
            fetched = checked(client.post("/usage/prices/refresh", json={})).json()
            say(f"{fetched['models']} prices as of {fetched['prices_as_of']}.")
        usage = checked(client.get("/usage")).json()
        groups = {} if usage["problem"] else {by: ask_groups(client, by) for by in PARTS}
    if as_json:
        show_json(usage | {"last_24_hours": groups})
        return FAILED if usage["problem"] else DONE
    if windows := list(window_rows(usage["quota"], time.time())):
        show_table(WINDOWS, windows, titled=True)
    else:
        say(NO_QUOTA)
    for order in usage.get("billing_orders", ()):
        say(order_line(order, time.time()))
    if usage["problem"]:
        say(f"The cost cannot be shown now: {usage['problem']}")
        return FAILED
    say("")
    show_table(SPENT, spent_rows(usage["spent"]), titled=True)
    for by, rows in groups.items():
        if rows:
            say("")
            columns = (f"{PARTS[by]}, LAST 24 H", "REQUESTS", "FAILED", "TOKENS", "COST")
            show_table(columns, group_rows(rows, NAMELESS[by]), titled=True)
    if misses := week_sentence(usage.get("cache_misses", [])):
        say(misses)
    month: Facts = next((each for each in usage["included"] if each["span"] == "30d"), {})
    for sentence in included_sentences(month, "In the last 30 days", usage):
        say(sentence)
    if not month:
        say(f"List prices as of {usage['prices_as_of']}.")
    return DONE


def show_statusline() -> int:
    """Print the windows and the cost of the last 24 hours as one short line; return the exit code.

    Nothing is printed on a failure: the line belongs to another program's screen.
    """
    try:
        with connection(load_settings()) as client:
            client.timeout = ANSWER_SECONDS
            usage = checked(client.get("/usage")).json()
    except CCProxyError as error:
        return error.exit_code
    show_line(visible_line(statusline(usage, time.time())))
    return DONE


def ask_groups(client: httpx.Client, by: str) -> list[Facts]:
    """Return the sums of the last 24 hours for each value of the column `by`, without the requests
    of the stack's own pages. Raises Unanswered.
    """
    wanted: Facts = {"by": by, "hours": 24, "service_type": "!gateway"}
    groups: list[Facts] = checked(client.get("/logs/groups", params=wanted)).json()["results"]
    return groups


def group_rows(groups: list[Facts], nameless: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each group; `nameless` is the name of the empty value."""
    for group in groups:
        yield (
            group["name"] or nameless,
            f"{group['requests']:,}",
            f"{group['requests'] - group['succeeded']:,}",
            f"{tokens_in_row(group):,}",
            dollars(group["cost_usd"] or 0),
        )


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


def spent_rows(spent: list[Facts]) -> Iterator[tuple[str, ...]]:
    for span, words in SPANS.items():
        rows = [row for row in spent if row["span"] == span]
        paid = sum(row["cost_usd"] for row in rows if row["billed_to"] in PAID)
        included = sum(row["cost_usd"] for row in rows if row["billed_to"] == SUBSCRIPTION)
        tokens = sum(tokens_in_row(row) for row in rows)
        unpriced = sorted({row["model"] for row in rows if row["unpriced_tokens"]})
        yield (
            words,
            f"{sum(row['requests'] for row in rows):,}",
            f"{tokens:,}",
            dollars(paid),
            dollars(included),
            f"{sum(row['unpriced_tokens'] for row in rows):,} tokens of {', '.join(unpriced)}"
            if unpriced
            else "",
        )


def included_sentences(included: Facts, when: str, usage: Facts) -> Iterator[str]:
    """Yield what subscriptions paid for, as sentences. `included` has the dollars and the unpriced
    tokens of the time that `when` names, and `usage` is an answer of `/usage`.
    """
    if included.get("cost_usd", 0.0) < ONE_CENT:
        return
    yield (
        f"{when} your subscriptions paid for requests that would have cost "
        f"{dollars(included['cost_usd'])} at the API's list prices of {usage['prices_as_of']}."
    )
    if included["unpriced_tokens"]:
        yield f"{included['unpriced_tokens']:,} tokens without a known price are not in this sum."
    for provider, usd in usage["monthly_usd"].items():
        yield f"The {provider} subscription costs you {dollars(usd)} a month."


def tokens_in_row(row: Facts) -> int:
    kinds = ("tokens_input", "tokens_output", "cache_read_tokens", "cache_write_tokens")
    return sum(int(row[kind]) for kind in kinds)
