"""Managed agents, their sessions and the events of a session as rows and lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ccproxy.cli.figures import clock, dollars, lasting
from ccproxy.cli.sessions import shown_folder
from shared.permissions.input_lines import input_line, one_line
from shared.runtime.times import local_clock

Facts = dict[str, Any]

SESSION_COLUMNS_OF_AGENTS = (
    "SESSION", "STATUS", "AGENT", "TITLE", "TOKEN", "FOLDER", "BEGAN", "WORKED", "TOKENS", "COST",
)  # fmt: skip
# Left out first in a narrow terminal.
SPARE_OF_MANAGED = ("TOKENS", "WORKED", "TOKEN", "TITLE", "BEGAN", "FOLDER")
AGENT_COLUMNS_STORED = ("AGENT", "NAME", "MODEL", "VERSION", "TOOLS", "CHANGED")
LINE_WIDTH = 200  # characters of an input or a result
SPEAKERS = {"user.message": "you", "agent.message": "agent"}
REASONS = {
    "end_turn": "is done",
    "requires_action": "waits for an answer: yours, or its client's",
    "retries_exhausted": "has failed",
    "refusal": "has failed: the model refused",
}
# Events that say nothing to a person: the counts of a request, and what a message shows anyway.
HIDDEN = frozenset({"ping", "span.model_request_start", "span.model_request_end", "agent.thinking"})


def session_rows_of_agents(
    sessions: Iterable[Facts], costs: Mapping[str, float | None], now: float
) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each managed session. `costs` are dollars by session id."""
    for session in sessions:
        usage = session["usage"]
        cost = costs.get(session["id"])
        yield (
            session["id"],
            session_status(session),
            session["agent"]["name"],
            session["title"] or "",
            session.get("caller") or "",
            shown_folder(session.get("folder") or ""),
            clock(datetime.fromisoformat(session["created_at"]).timestamp(), now),
            lasting(session["stats"]["active_seconds"]),
            f"{session_tokens(usage):,}",
            "" if cost is None else dollars(cost),
        )


def session_status(session: Facts) -> str:
    """Return the status of a session in a word."""
    if session["archived_at"]:
        return "archived"
    return "waits" if session.get("waits") else str(session["status"])


def session_tokens(usage: Facts) -> int:
    """Return the tokens of all turns of a session, those of the prompt cache included."""
    written = sum(usage["cache_creation"].values())
    read: int = usage["cache_read_input_tokens"]
    return int(usage["input_tokens"]) + read + int(written) + int(usage["output_tokens"])


def stored_agent_rows(agents: Iterable[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each stored agent."""
    for agent in agents:
        changed = datetime.fromisoformat(agent["updated_at"]).timestamp()
        tools = [tool.get("name") or "Claude Code's" for tool in agent["tools"]]
        yield (
            agent["id"],
            agent["name"],
            agent["model"]["id"],
            str(agent["version"]),
            ", ".join(tools) or "none",
            clock(changed, now),
        )


def session_event_line(event: Facts) -> str | None:
    """Return an event of a session as a line, or as the lines of a message; None for an event that
    says nothing to a person.
    """
    if event["type"] in HIDDEN:
        return None
    at = event.get("processed_at")
    return f"{local_clock(at) if at else '--:--:--'}  {words_of_event(event)}"


def words_of_event(event: Facts) -> str:
    """Return what an event says, without its time."""
    kind = event["type"]
    if kind in SPEAKERS:
        return f"{SPEAKERS[kind]}: {text_of_blocks(event['content'])}"
    match kind:
        case "agent.tool_use" | "agent.custom_tool_use" | "agent.mcp_tool_use":
            return f"{event['name']}: {input_line(json.dumps(event['input']), LINE_WIDTH)}"
        case "agent.tool_result" | "agent.mcp_tool_result" | "user.custom_tool_result":
            word = "error" if event.get("is_error") else "result"
            return f"{word}: {one_line(text_of_blocks(event.get('content') or []), LINE_WIDTH)}"
        case "user.tool_confirmation":
            reason = event.get("deny_message")
            word = "allowed" if event["result"] == "allow" else "denied"
            return f"{word}: {one_line(reason, LINE_WIDTH)}" if reason else word
        case "user.interrupt":
            return "stopped"
        case "session.error":
            return f"error: {one_line(event['error']['message'], LINE_WIDTH)}"
        case "session.status_idle":
            reason = event["stop_reason"]["type"]
            return f"the session {REASONS.get(reason, reason)}"
        case "session.status_running":
            return "the session runs"
    return str(kind)


def text_of_blocks(content: Iterable[Facts]) -> str:
    """Return the texts of content blocks; any other block by its type."""
    return "".join(
        str(block["text"]) if block["type"] == "text" else f"[{block['type']}]" for block in content
    )


def end_of_turn(event: Facts) -> str | None:
    """Return the reason why a turn has ended, if `event` says so; None while it waits or runs."""
    if event["type"] != "session.status_idle":
        return None
    reason = str(event["stop_reason"]["type"])
    return None if reason == "requires_action" else reason
