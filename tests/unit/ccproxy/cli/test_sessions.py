"""The rows of sessions, and the tree of a session's agents."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.cli.sessions import (
    agent_rows,
    ask_misses,
    in_tree,
    session_rows,
    shown_folder,
    whole_id,
)

NOON = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))


def agent(agent_id: str, parent: str = "", **facts: Any) -> dict[str, Any]:
    return {
        "agent_id": agent_id,
        "parent_agent_id": parent,
        "oldest": NOON - 600,
        "newest": NOON - 60,
        "requests": 3,
        "succeeded": 3,
        "tokens_input": 25,
        "tokens_output": 25,
        "cache_read_tokens": 50,
        "cache_write_tokens": 0,
        "unpriced_tokens": 0,
        "cost_usd": 1.25,
        "models": ["opus", ""],
        "cache_misses": 0,
        "working_directory": "",
    } | facts


def names(agents: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["agent_id"], depth) for each, depth in in_tree(agents)]


def test_a_session_shows_its_client_cost_and_cache_share() -> None:
    session = agent("") | {
        "session_id": "s1", "client_program": "claude-code", "caller": "laptop", "agents": 2,
        "cache_misses": 3, "working_directory": "/srv/house",
    }  # fmt: skip
    (row,) = session_rows([session], NOON)
    assert row == (
        "s1", "11:59", "9 min", "claude-code", "laptop", "/srv/house", "2", "3", "100", "50%",
        "$1.25", "3",
    )  # fmt: skip


def test_an_agent_stands_below_the_agent_that_started_it() -> None:
    agents = [agent("b", "a"), agent(""), agent("a"), agent("c", "b")]
    assert names(agents) == [("", 0), ("a", 1), ("b", 2), ("c", 3)]


def test_an_agent_of_an_unknown_parent_stands_below_the_session() -> None:
    assert names([agent(""), agent("a", "gone")]) == [("", 0), ("a", 1)]


def test_agents_that_name_each_other_as_parents_are_each_shown_once() -> None:
    shown = names([agent(""), agent("a", "b"), agent("b", "a")])
    assert sorted(name for name, _ in shown) == ["", "a", "b"]


def test_the_session_s_own_requests_are_those_of_the_main_agent() -> None:
    first, second = agent_rows([agent(""), agent("a")], NOON)
    assert (first[0], second[0]) == ("main", "  a")
    assert second[-1] == "opus"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ab12", "ab12"),
        ("ab12…", "ab12"),
        ("c", "c999"),
        ("c9…", "c999"),
        ("ab1", "ab1"),
        ("x", "x"),
    ],
)
def test_a_session_is_found_by_the_beginning_that_a_narrow_table_shows(
    given: str, found: str
) -> None:
    rows = {"results": [{"session_id": each} for each in ("ab12", "ab123", "c999")]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=rows))
    with httpx.Client(base_url="http://stack", transport=transport) as client:
        assert whole_id(client, given, 7) == found


def test_a_folder_in_the_home_of_the_owner_begins_with_a_tilde() -> None:
    home = str(Path.home())
    assert shown_folder(f"{home}/code/house") == "~/code/house"
    assert shown_folder(home) == "~"
    assert shown_folder(f"{home}less/house") == f"{home}less/house"
    assert shown_folder("") == ""


def test_the_misses_of_a_session_are_asked_with_their_time() -> None:
    asked: list[httpx.URL] = []
    entry = {
        "request_id": "r", "agent_id": "", "model": "opus", "cache_cause": "idle",
        "cache_explanation": "6 minutes had passed", "cache_missed_tokens": 81_000,
        "cache_miss_usd": 0.49, "timestamp": "2026-11-29T12:00:00.000000Z", "path": "/api",
    }  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"entries": [entry]})

    with httpx.Client(base_url="http://stack", transport=httpx.MockTransport(answer)) as client:
        (miss,) = ask_misses(client, "s1", 7)
    assert asked[0].params["cache_missed"] == "true"
    assert asked[0].params["session_id"] == "s1"
    assert (miss["sent_at"], miss["cache_missed_tokens"]) == (1_795_953_600.0, 81_000)
    assert "path" not in miss
