"""A request is one line of 80 columns, and no text of a request commands the terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ccproxy.cli.log_lines import permission_line, request_line, short

WHEN = "16:21:03"
SERVED = {
    "path": "/api/v1/messages",
    "status": 200,
    "duration_ms": 1240.4,
    "caller": "aider",
    "model": "claude-sonnet-5-5",
    "tokens_input": 12_345,
    "tokens_output": 340,
}


def line(**changes: Any) -> str:
    return re.sub(r"\033\[\d+m", "", request_line(SERVED | changes, WHEN))


def test_a_served_request_names_client_route_model_tokens_and_duration() -> None:
    assert line() == "16:21:03 200 aider        /api   claude-sonnet-5-5  12.3k → 340    1.24s"


def test_a_known_cost_stands_at_the_end_within_80_columns() -> None:
    told = line(cost_usd=0.0123)
    assert told.endswith(" 1.24s $0.0123")
    assert len(told) <= 80


def test_a_client_without_a_token_is_named_by_its_program() -> None:
    assert line(caller="", client="claude-code").startswith("16:21:03 200 claude-code  /api")


def test_another_model_than_the_requested_one_is_shown_beside_it() -> None:
    assert "gpt-4o→claude-sonnet-5-5" in line(asked_model="gpt-4o")


def test_a_failed_request_gives_the_reason_in_at_most_two_rows() -> None:
    told = line(status=502, error_kind="upstream", error_message="no route " * 40)
    first, second = told.splitlines()
    assert first.startswith("16:21:03 502 aider ")
    assert first.endswith(" no route no")
    assert second.startswith(" " * 13 + "route no route")
    assert second.endswith("…")
    assert len(second) == 80


def test_a_client_that_left_is_named_as_the_reason() -> None:
    assert line(status=499).endswith("the client left")


def test_a_path_outside_the_routes_stays_whole() -> None:
    assert "/v1/messages" in line(path="/v1/messages", status=404, error_message="nothing here")


def test_no_text_of_a_request_commands_the_terminal() -> None:
    hostile = "\x1b]0;x\x07\nforged"
    told = line(caller=hostile, model=hostile, path=hostile, status=500, error_message=hostile)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", told)
    assert len(told.splitlines()) <= 2


def test_a_waiting_permission_request_names_the_ways_to_answer() -> None:
    told = re.sub(r"\033\[\d+m", "", permission_line({"tool": "Ba\x1bsh"}, WHEN, "http://x"))
    assert told.splitlines() == [
        "16:21:03 ask an agent wants to use Ba\\u001bsh. Answer with `ccproxy",
        "             permission-handler` or at http://x/permissions/ui",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1_200, "1.2k"), (150_000, "150k"), (2_500_000, "2.5M")],
)
def test_counts_are_short(count: int, shown: str) -> None:
    assert short(count) == shown
