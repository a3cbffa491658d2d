"""`ccproxy usage --by …` and `--month …`: requests, tokens and dollars by day, month, model,
client, token or session, as a table, CSV or JSON.

Days and months are those of this machine's time zone, so that a day's sum is what its owner saw on
that day. Each is one question to the stack.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time, timedelta
from itertools import dropwhile
from typing import Any, Literal, TypeAlias

import httpx
from typer import BadParameter

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE
from ccproxy.cli.figures import dollars, share
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.usage import PAID, SUBSCRIPTION, included_sentences, tokens_in_row
from shared.formats.spreadsheets import without_formula
from shared.settings.tree import load_settings

By: TypeAlias = Literal["day", "month", "model", "client", "token", "session"]

USUAL_DAYS = {"day": 14, "month": 366}  # of the periods; other tables cover a week
A_WEEK = 7
OWN = {"service_type": "!gateway"}  # leaves out what the stack answers itself
MOST_ROWS = 1000  # the most that one question may ask for
COLUMN_OF = {"model": "model", "client": "client_program", "token": "caller"}
NAMELESS = {"model": "no model", "client": "unknown", "token": "no token"}

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spending:
    """One row. `included_usd` is the list price of what a subscription paid for, `unpriced_tokens`
    are those of models without a known price.

    Groups are priced as a whole: their `paid_usd` and `included_usd` are None.
    """

    name: str
    requests: int
    failed: int
    tokens: int
    cached_tokens: int
    unpriced_tokens: int
    cost_usd: float
    paid_usd: float | None = None
    included_usd: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row's line in a table."""
        money = [self.cost_usd, self.paid_usd, self.included_usd]
        unpriced = f"{self.unpriced_tokens:,}" if self.unpriced_tokens else ""
        return (
            self.name,
            f"{self.requests:,}",
            f"{self.failed:,}",
            f"{self.tokens:,}",
            share(self.cached_tokens, self.tokens),
            *(dollars(amount) for amount in money if amount is not None),
            unpriced,
        )


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a question, both included, and their name in a sentence."""

    first: date
    last: date
    words: str


def last_days(by: By, days: int | None, today: date) -> Days:
    """Return the last `days` days with `today`; without a number the usual ones of a table."""
    span = days or USUAL_DAYS.get(by, A_WEEK)
    return Days(today - timedelta(days=span - 1), today, f"in the last {span} days")


def month_named(text: str, today: date) -> Days:
    """Return the days of the calendar month `text` (2026-11, this, last) up to `today`. Raises
    ValueError.
    """
    first = today.replace(day=1)
    if text == "last":
        first = (first - timedelta(days=1)).replace(day=1)
    elif text != "this":
        try:
            first = date.fromisoformat(f"{text}-01")
        except ValueError:
            raise ValueError(f"{text!r} is no month: write 2026-11, this or last.") from None
    if first > today:
        raise ValueError(f"{text!r} has not begun.")
    return Days(first, min(next_month(first) - timedelta(days=1), today), f"in {first:%B %Y}")


def next_month(day: date) -> date:
    """Return the first day of the month after that of `day`."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def run_spending(
    by: By | None, days: int | None, month: str | None, *, as_json: bool, as_csv: bool
) -> int:
    """Print what `ccproxy usage` asks for, and return the exit code. A month is shown by day unless
    `by` says otherwise. Raises BadParameter, NotRunning or Unanswered.
    """
    today = datetime.now().astimezone().date()
    by = by or "day"
    if month is None:
        return show_spending(by, last_days(by, days, today), as_json=as_json, as_csv=as_csv)
    if days is not None:
        raise BadParameter("--month stands in place of --days.")
    try:
        asked = month_named(month, today)
    except ValueError as error:
        raise BadParameter(str(error)) from None
    return show_spending(by, asked, as_json=as_json, as_csv=as_csv)


def show_spending(by: By, days: Days, *, as_json: bool, as_csv: bool) -> int:
    """Print the spending by `by` of `days`, and return the exit code. Raises NotRunning or
    Unanswered.
    """
    with connection(load_settings()) as client:
        rows = list(spending_rows(client, by, days.first, days.last))
        usage = {} if as_csv else checked(client.get("/usage")).json()
    if as_json:
        show_json(spending_facts(by, days, rows, usage))
    elif as_csv:
        write_csv(rows)
    else:
        show_spending_table(by, days, rows, usage)
    return DONE


def spending_facts(by: By, days: Days, rows: Sequence[Spending], usage: Facts) -> Facts:
    """Return the rows for programs, with their total, and the day of the prices. `usage` is an
    answer of `/usage`.
    """
    return {
        "by": by,
        "first_day": str(days.first),
        "last_day": str(days.last),
        "rows": [asdict(row) for row in rows],
        "total": asdict(total_of(rows)),
        "monthly_usd": usage["monthly_usd"],
        "prices_as_of": usage.get("prices_as_of"),
    }


def spending_rows(
    client: httpx.Client, by: By, first_day: date, last_day: date
) -> Iterator[Spending]:
    """Yield the rows from `first_day` to the end of `last_day`. Raises Unanswered."""
    if by in USUAL_DAYS:
        for name, start, end in periods(by, first_day, last_day):
            yield period_spending(name, ask_sums(client, start, end))
        return
    span = {"start_time": midnight(first_day), "end_time": midnight(last_day + timedelta(days=1))}
    if by == "session":
        wanted: Facts = {"limit": MOST_ROWS, **OWN, **span}
        rows = checked(client.get("/logs/sessions", params=wanted)).json().get("results", [])
        rows.sort(key=lambda row: row["cost_usd"], reverse=True)
        yield from (group_spending(row["session_id"], row) for row in rows)
        return
    wanted = {"by": COLUMN_OF[by], "limit": MOST_ROWS, **OWN, **span}
    rows = checked(client.get("/logs/groups", params=wanted)).json().get("results", [])
    yield from (group_spending(row["name"] or NAMELESS[by], row) for row in rows)


def ask_sums(client: httpx.Client, start: float, end: float) -> Facts:
    """Return the sums of the requests between two times. Raises Unanswered."""
    wanted: Facts = {"start_time": start, "end_time": end} | OWN
    sums: Facts = checked(client.get("/logs/analytics", params=wanted)).json()
    return sums


def periods(by: By, first_day: date, last_day: date) -> Iterator[tuple[str, float, float]]:
    """Yield the name, beginning and end of each day or month, the earliest first. The first and
    the last month end with the given days.
    """
    start = first_day
    while start <= last_day:
        end = start + timedelta(days=1)
        if by == "month":
            end = min(next_month(start), last_day + timedelta(days=1))
        name = start.strftime("%Y-%m-%d" if by == "day" else "%Y-%m")
        yield name, midnight(start), midnight(end)
        start = end


def midnight(day: date) -> float:
    """Return the beginning of `day` in this machine's time zone, in UTC seconds."""
    return datetime.combine(day, time()).astimezone().timestamp()


def period_spending(name: str, sums: Facts) -> Spending:
    """Return the row of a period from an answer of `/logs/analytics`."""
    summary = sums["summary"]
    parts = sums["billed_to_breakdown"]
    paid = sum((parts[part]["total_cost_usd"] for part in PAID if part in parts), 0.0)
    included = parts[SUBSCRIPTION]["total_cost_usd"] if SUBSCRIPTION in parts else 0.0
    return Spending(
        name,
        requests=summary["total_requests"],
        failed=summary["total_error_requests"],
        tokens=summary["total_tokens_all"],
        cached_tokens=summary["total_cache_read_tokens"],
        unpriced_tokens=summary["unpriced_tokens"],
        cost_usd=summary["total_cost_usd"],
        paid_usd=paid,
        included_usd=included,
    )


def group_spending(name: str, row: Facts) -> Spending:
    """Return the row of a group or session from a row of the stack's answer."""
    return Spending(
        name,
        requests=row["requests"],
        failed=row["requests"] - row["succeeded"],
        tokens=tokens_in_row(row),
        cached_tokens=row["cache_read_tokens"],
        unpriced_tokens=row["unpriced_tokens"],
        cost_usd=row["cost_usd"] or 0.0,
    )


def show_spending_table(by: By, days: Days, rows: Sequence[Spending], usage: Facts) -> None:
    """Print `rows` as a table with their total; below periods what subscriptions paid for. `usage`
    is an answer of `/usage`.
    """
    total = total_of(rows)
    if not total.requests:
        say(f"No requests {days.words}.")
        return
    is_period = by in USUAL_DAYS
    head = (by.upper(), "REQUESTS", "FAILED", "TOKENS", "CACHED", "COST")
    columns = (*head, "PAID", "INCLUDED", "UNPRICED") if is_period else (*head, "UNPRICED")
    # A month's days before the first request would only push the others off the screen.
    begun = dropwhile(lambda row: is_period and not row.requests, rows)
    show_table(columns, [row.cells() for row in (*begun, total)], titled=True)
    included = {"cost_usd": total.included_usd or 0.0, "unpriced_tokens": total.unpriced_tokens}
    when = days.words[0].upper() + days.words[1:]
    for sentence in included_sentences(included, when, usage):
        say(sentence)


def total_of(rows: Sequence[Spending]) -> Spending:
    """Return the sum of the rows, named `total`."""
    periods_only = [row for row in rows if row.included_usd is not None]
    return Spending(
        "total",
        requests=sum(row.requests for row in rows),
        failed=sum(row.failed for row in rows),
        tokens=sum(row.tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        unpriced_tokens=sum(row.unpriced_tokens for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        paid_usd=sum(row.paid_usd or 0.0 for row in rows) if periods_only else None,
        included_usd=sum(row.included_usd or 0.0 for row in rows) if periods_only else None,
    )


def write_csv(rows: Sequence[Spending]) -> None:
    """Write `rows` to stdout as CSV below a line of the column names. An unknown amount is an empty
    cell, and a name that looks like a formula gets an apostrophe in front.
    """
    out = csv.writer(sys.stdout, lineterminator="\n")
    names = [field.name for field in fields(Spending)]
    out.writerow(names)
    for row in rows:
        cells = asdict(row) | {"name": without_formula(row.name)}
        out.writerow(["" if cells[name] is None else cells[name] for name in names])
