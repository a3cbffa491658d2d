"""Requests as a line each, and an export that is whole or not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.logs import coloured_line, event_line, events_of, export_format


def event(**facts: Any) -> dict[str, Any]:
    return {
        "type": "request_complete",
        "timestamp": 1_760_000_000.0,
        "status_code": 200,
        "duration_ms": 1234.0,
        "path": "/api/v1/messages",
        "model": "claude-x",
        "tokens_input": 10,
        "cache_read_tokens": 5,
        "cache_write_tokens": 0,
        "tokens_output": 7,
        "cost_usd": 0.0125,
        "error_kind": "",
        "error_message": "",
    } | facts


def test_a_request_is_one_line() -> None:
    line = event_line(event())
    assert line.endswith("200     1.23 s  /api/v1/messages  claude-x  15 → 7  $0.0125")


def test_a_failure_says_why_and_an_unknown_price_nothing() -> None:
    line = event_line(
        event(status_code=529, cost_usd=None, error_kind="overloaded", error_message="Overloaded")
    )
    assert line.endswith("15 → 7  overloaded: Overloaded")


def test_a_request_that_another_model_served_shows_the_asked_and_the_served_model() -> None:
    assert "  opus → claude-x  " in event_line(event(asked_model="opus"))
    assert "→ claude-x" not in event_line(event(asked_model="claude-x"))


def test_a_request_names_its_token_or_else_its_program() -> None:
    assert "  aider  /api/" in event_line(event(caller="aider", client_program="httpx"))
    assert "  httpx  /api/" in event_line(event(caller="", client_program="httpx"))


def test_a_terminal_gets_the_line_of_the_stack_s_own_terminal_within_80_columns() -> None:
    found = event(caller="aider", model="claude-sonnet-5-5", tokens_input=12_200)
    shown = re.sub(r"\x1b\[\d+m", "", coloured_line(found, 80))
    assert "200 aider        /api   claude-sonnet-5-5  12.2k → 7" in shown
    assert len(shown) <= 80
    failed = event(model="\x1b[2J", status_code=500, error_message="no " * 100)
    assert "\x1b[2J" not in coloured_line(failed, 80)


@pytest.mark.parametrize(
    ("name", "form"),
    [("x.csv", "csv"), ("x.CSV", "csv"), ("x.parquet", "parquet"), ("x", "parquet")],
)
def test_the_end_of_a_name_chooses_the_format_of_an_export(name: str, form: str) -> None:
    assert export_format(Path(name)) == form


def test_events_that_were_missed_are_counted() -> None:
    assert event_line({"type": "overflow", "missed": 3}) == "… 3 more"


def stream(*data: str) -> httpx.Response:
    text = "".join(f"data: {each}\n\n" for each in data)
    return httpx.Response(
        200,
        text=": keep-alive\n\n" + text,
        request=httpx.Request("GET", "http://localhost/logs/stream"),
    )


def test_only_what_is_about_requests_is_shown() -> None:
    sent = stream('{"type":"connection"}', '{"type":"request_start"}', '{"type":"overflow"}')
    assert [found["type"] for found in events_of(sent)] == ["overflow"]


def test_an_error_of_the_gateway_ends_the_tail_with_its_words() -> None:
    with pytest.raises(Unanswered, match="no analytics"):
        list(events_of(stream('{"type":"error","message":"no analytics"}')))
