"""What `ccproxy usage --by …` asks of the stack, and the rows that it makes of the answers."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
import typer

from ccproxy.cli.spending import (
    By,
    Days,
    Spending,
    last_days,
    midnight,
    month_named,
    periods,
    run_spending,
    show_spending_table,
    spending_facts,
    spending_rows,
    total_of,
    write_csv,
)

SUNDAY = date(2026, 11, 29)


@pytest.fixture(autouse=True)
def _in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def asking(answer: Callable[[httpx.Request], Any], by: By, days: int = 7) -> list[Spending]:
    """Return the rows by `by` of the days before SUNDAY, from a stack that answers by `answer`."""
    transport = httpx.MockTransport(lambda asked: httpx.Response(200, json=answer(asked)))
    with httpx.Client(base_url="http://stack", transport=transport) as client:
        return list(spending_rows(client, by, SUNDAY - timedelta(days=days - 1), SUNDAY))


def sums(**paid: float) -> dict[str, Any]:
    cost = sum(paid.values())
    return {
        "summary": {
            "total_requests": 3,
            "total_error_requests": 1,
            "total_tokens_all": 1000,
            "total_cache_read_tokens": 250,
            "unpriced_tokens": 0,
            "total_cost_usd": cost,
        },
        "billed_to_breakdown": {name: {"total_cost_usd": usd} for name, usd in paid.items()},
    }


def group(name: str, cost: float | None = 1.0) -> dict[str, Any]:
    return {
        "name": name,
        "session_id": name,
        "requests": 4,
        "succeeded": 3,
        "tokens_input": 10,
        "tokens_output": 20,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "unpriced_tokens": 5,
        "cost_usd": cost,
    }


def test_a_day_begins_and_ends_at_this_machine_s_midnight() -> None:
    (day,) = periods("day", SUNDAY, SUNDAY)
    assert day == ("2026-11-29", 1795928400.0, 1795928400.0 + 86_400)


def test_the_day_of_the_clock_change_has_twenty_five_hours() -> None:
    (day,) = periods("day", date(2026, 11, 1), date(2026, 11, 1))
    assert day[2] - day[1] == 25 * 3600


def test_months_follow_one_another_without_a_gap() -> None:
    months = list(periods("month", date(2025, 12, 15), date(2026, 3, 2)))
    assert [name for name, _, _ in months] == ["2025-12", "2026-01", "2026-02", "2026-03"]
    assert [end for _, _, end in months[:-1]] == [start for _, start, _ in months[1:]]
    assert months[0][1] == midnight(date(2025, 12, 15))
    assert months[-1][2] == midnight(date(2026, 3, 3))


def test_a_day_tells_what_was_paid_from_what_a_subscription_included() -> None:
    rows = asking(lambda _: sums(api_key=1.0, extra_usage=0.5, subscription=8.0), "day", days=2)
    assert [row.name for row in rows] == ["2026-11-28", "2026-11-29"]
    assert rows[0] == Spending("2026-11-28", 3, 1, 1000, 250, 0, 9.5, 1.5, 8.0)


def test_every_question_leaves_out_the_stack_s_own_requests() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> Any:
        asked.append(request)
        return sums() if "analytics" in request.url.path else {"results": []}

    kinds: list[By] = ["day", "month", "model", "client", "token", "session"]
    for by in kinds:
        asking(answer, by)
    assert {request.url.params["service_type"] for request in asked} == {"!gateway"}


@pytest.mark.parametrize(
    ("by", "column", "nameless"),
    [
        ("model", "model", "no model"),
        ("client", "client_program", "unknown"),
        ("token", "caller", "no token"),
    ],
)
def test_a_group_without_a_name_has_a_word_for_it(by: By, column: str, nameless: str) -> None:
    def answer(request: httpx.Request) -> Any:
        assert request.url.params["by"] == column
        return {"results": [group("a"), group("", None)]}

    first, second = asking(answer, by)
    assert first == Spending("a", 4, 1, 100, 60, 5, 1.0)
    assert (second.name, second.cost_usd) == (nameless, 0.0)


def test_sessions_stand_in_the_order_of_their_cost() -> None:
    rows = asking(lambda _: {"results": [group("cheap", 1), group("dear", 2)]}, "session")
    assert [row.name for row in rows] == ["dear", "cheap"]


def test_an_answer_without_rows_is_an_empty_table() -> None:
    assert asking(lambda _: {"count": 0}, "model") == []


USAGE = {"monthly_usd": {}, "prices_as_of": "2026-11-10"}


def test_the_table_ends_with_the_total_and_the_list_price_of_what_subscriptions_paid_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = asking(lambda _: sums(api_key=1.0, subscription=8.0, unknown=2.0), "day", days=2)
    usage = USAGE | {"monthly_usd": {"claude": 100}}
    show_spending_table("day", last_days("day", 2, SUNDAY), rows, usage)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].split("\t")[:3] == ["total", "6", "2"]
    assert shown.err == (
        "In the last 2 days your subscriptions paid for requests that would have cost $16.00 at "
        "the API's list prices of 2026-11-10.\nThe claude subscription costs you $100.00 a "
        "month.\n"
    )
    assert (total_of(rows).cost_usd, total_of(rows).included_usd) == (22.0, 16.0)


def test_the_list_price_says_which_tokens_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    unpriced = Spending("2026-11-29", 1, 0, 1000, 0, 400, 5.0, 0.0, 5.0)
    show_spending_table("day", last_days("day", 1, SUNDAY), [unpriced], USAGE)
    assert "400 tokens without a known price are not in this sum." in capsys.readouterr().err


def test_nothing_is_said_of_subscriptions_that_paid_for_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = asking(lambda _: sums(api_key=1.0), "day", days=2)
    show_spending_table("day", last_days("day", 2, SUNDAY), rows, USAGE)
    assert capsys.readouterr().err == ""


def test_a_table_begins_with_the_first_day_that_has_requests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = Spending("", 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
    rows = [replace(nothing, name=str(day), requests=day % 2) for day in range(5)]
    show_spending_table("day", last_days("day", 5, SUNDAY), rows, USAGE)
    shown = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["DAY", "1", "2", "3", "4", "total"]


def test_a_table_of_models_ends_with_its_total(capsys: pytest.CaptureFixture[str]) -> None:
    rows = asking(lambda _: {"results": [group("a", 1), group("b", 2)]}, "model")
    show_spending_table("model", last_days("model", None, SUNDAY), rows, USAGE)
    last = capsys.readouterr().out.splitlines()[-1].split("\t")
    assert last == ["total", "8", "2", "200", "60%", "$3.00", "10"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_spending_table("model", last_days("model", None, SUNDAY), [], USAGE)
    assert capsys.readouterr().err == "No requests in the last 7 days.\n"
    empty = sums() | {"summary": sums()["summary"] | {"total_requests": 0}}
    rows = asking(lambda _: empty, "day")
    show_spending_table("day", month_named("2026-11", SUNDAY), rows, USAGE)
    assert capsys.readouterr().err == "No requests in November 2026.\n"


@pytest.mark.parametrize(
    ("text", "first", "last", "words"),
    [
        ("this", date(2026, 11, 1), SUNDAY, "in November 2026"),
        ("last", date(2026, 10, 1), date(2026, 10, 31), "in October 2026"),
        ("2026-11", date(2026, 11, 1), SUNDAY, "in November 2026"),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29), "in February 2024"),
        ("2025-12", date(2025, 12, 1), date(2025, 12, 31), "in December 2025"),
    ],
)
def test_a_month_has_its_days_up_to_today(text: str, first: date, last: date, words: str) -> None:
    assert month_named(text, SUNDAY) == Days(first, last, words)


def test_last_month_of_january_is_december() -> None:
    assert month_named("last", date(2027, 1, 31)).first == date(2026, 12, 1)


@pytest.mark.parametrize("text", ["2026-12", "2026-13", "11/2026", "2026", "next", ""])
def test_another_text_is_no_month_that_has_begun(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no month|has not begun"):
        month_named(text, SUNDAY)


@pytest.mark.parametrize(("days", "month"), [(3, "this"), (None, "soon")])
def test_a_wrong_time_is_refused_before_the_stack_is_asked(days: int | None, month: str) -> None:
    with pytest.raises(typer.BadParameter):
        run_spending(None, days, month, as_json=False, as_csv=False)


def test_json_has_the_days_the_rows_and_their_total() -> None:
    rows = asking(lambda _: sums(subscription=8.0), "day", days=2)
    facts = spending_facts("day", last_days("day", 2, SUNDAY), rows, USAGE)
    assert (facts["first_day"], facts["last_day"]) == ("2026-11-28", "2026-11-29")
    assert [row["name"] for row in facts["rows"]] == ["2026-11-28", "2026-11-29"]
    assert (facts["total"]["included_usd"], facts["prices_as_of"]) == (16.0, "2026-11-10")


def test_csv_holds_numbers_and_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv([Spending("=cmd()", 1, 0, 1000, 0, 0, 0.5)])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["name"], row["tokens"], row["cost_usd"]) == ("'=cmd()", "1000", "0.5")
    assert row["paid_usd"] == ""
    assert json.loads(row["requests"]) == 1
