"""Requests as a line each, and an export that is whole or not there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.logs import event_line, events_of


def event(**facts: Any) -> dict[str, Any]:
    return {
        "type": "request_complete",
        "timestamp": 1_760_000_000.0,
        "status_code": 200,
        "duration_ms": 1234.0,
        "endpoint": "/api/v1/messages",
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
