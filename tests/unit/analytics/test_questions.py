"""Parameters are checked by name, and answers have the shapes other programs read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from analytics.questions import (
    REPLY_BYTES,
    Analytics,
    Entries,
    read_question,
    shape_analytics,
    shape_entries,
    split_replies,
)
from shared.runtime.errors import ClientError


def test_text_from_a_query_string_is_read_as_what_it_means() -> None:
    question = read_question(
        Entries, {"limit": "25", "start_time": "1700000000.5", "status_min": "400"}
    )
    assert (question.limit, question.start_time, question.status_min) == (25, 1700000000.5, 400)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"limit": 10_001}, "limit"),
        ({"limit": 0}, "limit"),
        ({"offset": -1}, "offset"),
        ({"order": "; DROP TABLE access_records"}, "order"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"end_time": float("inf")}, "end_time"),
        ({"sql": "SELECT 1"}, "sql"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(ClientError, match=f"^{named}: "):
        read_question(Entries, parameters)


def test_services_are_a_list_by_commas_with_exclusions() -> None:
    bound = read_question(Entries, {"service_type": "proxy, !sdk ,,other,! "}).bound()
    assert bound["services"] == ["proxy", "other"]
    assert bound["services_left_out"] == ["sdk"]


def test_without_times_everything_is_meant() -> None:
    bound = Entries().bound()
    assert bound["start_time"] == datetime(1970, 1, 1)  # noqa: DTZ001 - DuckDB's TIMESTAMP is UTC without saying so
    assert bound["end_time"].year == 9999


def test_hours_reach_back_from_the_end_and_give_way_to_a_start() -> None:
    assert Analytics(end_time=100_000, hours=2).window().start_time == 92_800
    assert Analytics(start_time=5, hours=2).window().start_time == 5
    assert Analytics(end_time=60).window().start_time == 0


def test_entries_say_which_page_of_how_many_they_are() -> None:
    answer = shape_entries(Entries(limit=2, offset=4, model="opus"), [{"request_id": "a"}], 5)
    del answer["timestamp"]
    assert answer == {
        "results": [{"request_id": "a"}],
        "count": 1,
        "total_count": 5,
        "limit": 2,
        "offset": 4,
        "order": "desc",
        "order_by": "timestamp",
        "filters": {"model": "opus"},
    }


def row(grouped_by: str, name: str, requests: int, succeeded: int) -> dict[str, Any]:
    spent = {
        "cost_usd": 0.5,
        "tokens_input": 1,
        "tokens_output": 2,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "unpriced_tokens": 6,
    }
    return {
        "grouped_by": grouped_by,
        "name": name,
        "requests": requests,
        "succeeded": succeeded,
        "avg_duration_ms": 7.0,
        **spent,
    }


def test_analytics_has_the_keys_dashboards_read() -> None:
    totals = [row("all", "", 4, 3), row("model", "opus", 4, 3), row("service_type", "sdk", 4, 3)]
    answer = shape_analytics(Analytics(), totals, 0.01)
    assert answer["summary"] == {
        "total_requests": 4,
        "total_successful_requests": 3,
        "total_error_requests": 1,
        "avg_duration_ms": 7.0,
        "total_cost_usd": 0.5,
        "unpriced_tokens": 6,
        "total_tokens_input": 1,
        "total_tokens_output": 2,
        "total_cache_read_tokens": 3,
        "total_cache_write_tokens": 4,
        "total_tokens_all": 10,
    }
    assert answer["request_analytics"]["success_rate"] == 75.0
    assert answer["request_analytics"]["error_rate"] == 25.0
    assert answer["token_analytics"]["total_tokens"] == 10
    assert answer["service_type_breakdown"]["sdk"]["request_count"] == 4
    assert answer["model_breakdown"]["opus"]["total_cost_usd"] == 0.5
    assert answer["query_params"] == {"hours": 24}


def test_analytics_of_nothing_divides_by_nothing() -> None:
    answer = shape_analytics(Analytics(), [row("all", "", 0, 0)], 0.0)
    assert answer["request_analytics"]["success_rate"] == 0.0
    assert answer["request_analytics"]["error_rate"] == 0.0


def test_a_big_answer_comes_in_replies_that_join_to_the_same_rows() -> None:
    rows = [{"number": number, "text": "x" * 10_000} for number in range(700)]
    replies = split_replies({"results": rows, "count": 700})
    assert len(replies) > 6
    assert all(len(reply) <= REPLY_BYTES for reply in replies)
    parts = [orjson.loads(reply) for reply in replies]
    assert [row for part in parts for row in part["results"]] == rows
    assert {part["count"] for part in parts} == {700}


def test_one_row_larger_than_a_reply_still_comes() -> None:
    (reply,) = split_replies({"results": [{"text": "x" * REPLY_BYTES}]})
    assert len(reply) > REPLY_BYTES
