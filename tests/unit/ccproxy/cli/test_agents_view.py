"""Sessions as rows, and events as lines that no text from outside can break."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.agents_view import (
    LINE_WIDTH,
    end_of_turn,
    session_event_line,
    session_rows_of_agents,
    stored_agent_rows,
    words_of_event,
)

NOON = time.mktime((2026, 11, 29, 12, 0, 0, 0, 0, -1))
AT_NOON = datetime.fromtimestamp(NOON, UTC).isoformat()


def session(**facts: Any) -> dict[str, Any]:
    return {
        "id": "sesn_1",
        "status": "idle",
        "archived_at": None,
        "agent": {"name": "helper"},
        "title": None,
        "created_at": AT_NOON,
        "stats": {"active_seconds": 75.0},
        "usage": {
            "input_tokens": 1,
            "output_tokens": 20,
            "cache_read_input_tokens": 300,
            "cache_creation": {
                "ephemeral_1h_input_tokens": 4000,
                "ephemeral_5m_input_tokens": 50_000,
            },
        },
    } | facts


def idle(reason: str) -> dict[str, Any]:
    return {"type": "session.status_idle", "stop_reason": {"type": reason}}


def test_a_session_shows_its_agent_folder_tokens_and_cost() -> None:
    facts = {"caller": "laptop", "folder": f"{Path.home()}/x", "title": "Night", "waits": False}
    (row,) = session_rows_of_agents([session(**facts)], {"sesn_1": 1.5}, NOON + 60)
    assert row == (
        "sesn_1", "idle", "helper", "Night", "laptop", "~/x", "12:00", "1 min", "54,321", "$1.50",
    )  # fmt: skip


def test_a_session_of_ones_own_has_no_token_and_an_unknown_cost_is_empty() -> None:
    (row,) = session_rows_of_agents([session()], {"sesn_1": None}, NOON)
    assert (row[3:6], row[-1]) == (("", "", ""), "")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"status": "running"}, "running"),
        ({"waits": True}, "waits"),
        ({"archived_at": AT_NOON, "waits": True}, "archived"),
    ],
)
def test_a_status_is_a_word(facts: dict[str, Any], status: str) -> None:
    (row,) = session_rows_of_agents([session(**facts)], {}, NOON)
    assert row[1] == status


def test_a_stored_agent_shows_its_model_and_its_tools() -> None:
    agent = {
        "id": "agent_1",
        "name": "helper",
        "model": {"id": "claude-sonnet-4-5"},
        "version": 2,
        "tools": [{"type": "agent_toolset_20260401"}, {"type": "custom", "name": "weather"}],
        "updated_at": AT_NOON,
    }
    first, second = stored_agent_rows([agent, agent | {"tools": []}], NOON)
    tools = "Claude Code's, weather"
    assert first == ("agent_1", "helper", "claude-sonnet-4-5", "2", tools, "12:00")
    assert second[4] == "none"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "user.message", "content": [{"type": "text", "text": "a\nb"}]}, "you: a\nb"),
        ({"type": "agent.message", "content": [{"type": "image"}]}, "agent: [image]"),
        (
            {"type": "agent.tool_use", "name": "bash", "input": {"command": "ls\x1b[2J"}},
            "bash: ls\\u001b[2J",
        ),
        ({"type": "agent.tool_result", "content": [], "is_error": True}, "error: "),
        (
            {"type": "agent.tool_result", "content": [{"type": "text", "text": "x" * 999}]},
            "result: " + "x" * (LINE_WIDTH - 1) + "…",
        ),
        ({"type": "user.tool_confirmation", "result": "allow"}, "allowed"),
        (
            {"type": "user.tool_confirmation", "result": "deny", "deny_message": "no"},
            "denied: no",
        ),
        ({"type": "user.interrupt"}, "stopped"),
        ({"type": "session.error", "error": {"message": "It broke."}}, "error: It broke."),
        (idle("end_turn"), "the session is done"),
        (idle("requires_action"), "the session waits for an answer: yours, or its client's"),
        (idle("retries_exhausted"), "the session has failed"),
        ({"type": "session.status_running"}, "the session runs"),
        ({"type": "session.updated"}, "session.updated"),
    ],
)
def test_an_event_is_said(event: dict[str, Any], words: str) -> None:
    assert words_of_event(event) == words


def test_a_line_has_the_time_of_its_event_and_counts_have_no_line() -> None:
    stopped = {"type": "user.interrupt"}
    assert session_event_line(stopped | {"processed_at": AT_NOON}) == "12:00:00  stopped"
    assert session_event_line(stopped | {"processed_at": None}) == "--:--:--  stopped"
    assert session_event_line({"type": "span.model_request_start"}) is None


def test_a_turn_has_ended_unless_it_waits() -> None:
    assert end_of_turn(idle("end_turn")) == "end_turn"
    assert end_of_turn(idle("requires_action")) is None
    assert end_of_turn({"type": "session.error"}) is None
