"""`ccproxy sessions`: the conversations of your tools with their cost, and the agents of one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from ccproxy.cli.cache_misses import MISS_COLUMNS, miss_rows
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.figures import clock, dollars, lasting, share
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.spending import group_spending
from shared.settings.tree import load_settings

Facts = dict[str, Any]

SESSION_COLUMNS = (
    "SESSION", "LAST", "LASTED", "CLIENT", "TOKEN", "FOLDER", "AGENTS", "REQUESTS", "TOKENS",
    "CACHED", "COST", "MISSES",
)  # fmt: skip
AGENT_COLUMNS = (
    "AGENT", "LAST", "LASTED", "REQUESTS", "TOKENS", "CACHED", "COST", "MISSES", "MODELS",
)  # fmt: skip
# Left out first in a narrow terminal.
SPARE = ("AGENTS", "LASTED", "MISSES", "TOKEN", "CACHED", "TOKENS")
SPARE_OF_AGENTS = ("LASTED", "CACHED", "TOKENS")
MOST_MISSES = 50
MAIN_AGENT = "main"  # the session's own requests, which name no agent
MOST_SESSIONS = 1000  # the most that one question may ask for
DAY_SECONDS = 86_400
MISS_FACTS = (
    "request_id", "agent_id", "model", "cache_cause", "cache_explanation", "cache_missed_tokens",
    "cache_miss_usd",
)  # fmt: skip


def show_sessions(session_id: str | None, days: int, limit: int, *, as_json: bool) -> int:
    """Print the last sessions of `days` days, or the agents and cache misses of one, and return
    the exit code.

    Raises NotRunning or Unanswered.
    """
    with connection(load_settings()) as client:
        if session_id is None:
            rows = ask_sessions(client, days, limit)
        else:
            session_id = whole_id(client, session_id, days)
            rows = ask_agents(client, session_id, days)
            misses = ask_misses(client, session_id, days)
    if as_json:
        show_json(rows if session_id is None else {"agents": rows, "cache_misses": misses})
        return DONE
    if not rows:
        if session_id is None:
            say(f"No session in the last {days} days. Clients can name theirs by x-session-id.")
            return DONE
        say(f"No request of session {session_id} in the last {days} days.")
        return FAILED
    now = time.time()
    if session_id is None:
        show_table(
            SESSION_COLUMNS, session_rows(rows, now), titled=True, spare=SPARE, cut=("SESSION",)
        )
    else:
        show_table(AGENT_COLUMNS, agent_rows(rows, now), titled=True, spare=SPARE_OF_AGENTS)
        if misses:
            say("")
            show_table(MISS_COLUMNS, miss_rows(misses, now), titled=True)
    return DONE


def ask_sessions(client: httpx.Client, days: int, limit: int) -> list[Facts]:
    """Return the sums of the last `limit` sessions, the latest first. Raises Unanswered."""
    wanted: Facts = {"hours": days * 24, "limit": limit}
    rows: list[Facts] = (
        checked(client.get("/logs/sessions", params=wanted)).json().get("results", [])
    )
    return rows


def whole_id(client: httpx.Client, beginning: str, days: int) -> str:
    """Return the id of the only session whose id begins as a narrow table shows it, else
    `beginning`. Raises Unanswered.
    """
    beginning = beginning.rstrip("…")
    sessions = ask_sessions(client, days, MOST_SESSIONS)
    ids = [session["session_id"] for session in sessions]
    if beginning in ids:
        return beginning
    found = [each for each in ids if each.startswith(beginning)]
    return found[0] if len(found) == 1 else beginning


def ask_agents(client: httpx.Client, session_id: str, days: int) -> list[Facts]:
    """Return the sums of each agent of a session, the earliest first. Raises Unanswered."""
    wanted: Facts = {"hours": days * 24, "session_id": session_id}
    rows: list[Facts] = checked(client.get("/logs/agents", params=wanted)).json().get("results", [])
    return rows


def ask_misses(client: httpx.Client, session_id: str, days: int) -> list[Facts]:
    """Return the requests of a session that missed the prompt cache, the latest first, each with
    its time as UTC seconds in `sent_at`. Raises Unanswered.
    """
    start = max(0.0, time.time() - days * DAY_SECONDS)
    wanted: Facts = {"session_id": session_id, "cache_missed": True, "limit": MOST_MISSES}
    answer = checked(client.get("/logs/entries", params=wanted | {"start_time": start})).json()
    return [
        {name: record[name] for name in MISS_FACTS}
        | {"sent_at": datetime.fromisoformat(record["timestamp"]).timestamp()}
        for record in answer["entries"]
    ]


def session_rows(sessions: Iterable[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each session."""
    for session in sessions:
        yield (
            session["session_id"],
            clock(session["newest"], now),
            lasting(session["newest"] - session["oldest"]),
            session["client_program"] or "",
            session["caller"] or "",
            shown_folder(session["working_directory"]),
            str(session["agents"] or ""),
            *sum_cells(session),
            str(session["cache_misses"] or ""),
        )


def shown_folder(folder: str) -> str:
    """Return a folder with `~` for the owner's home."""
    home = str(Path.home())
    return f"~{folder.removeprefix(home)}" if f"{folder}/".startswith(f"{home}/") else folder


def agent_rows(agents: list[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each agent, below the agent that started it."""
    for agent, depth in in_tree(agents):
        yield (
            "  " * depth + (agent["agent_id"] or MAIN_AGENT),
            clock(agent["newest"], now),
            lasting(agent["newest"] - agent["oldest"]),
            *sum_cells(agent),
            str(agent["cache_misses"] or ""),
            ", ".join(model for model in agent["models"] if model),
        )


def in_tree(agents: list[Facts]) -> Iterator[tuple[Facts, int]]:
    """Yield every agent once with its depth, each below its parent. An agent whose parent is not
    there, or is its own descendant, stands at the top.
    """
    placed: set[str] = set()
    by_parent: dict[str, list[Facts]] = {}
    known = {agent["agent_id"] for agent in agents}
    for agent in agents:
        if agent["agent_id"]:
            # The session's own requests, whose agent_id is empty, are the parent of all others.
            parent = agent["parent_agent_id"] if agent["parent_agent_id"] in known else ""
            by_parent.setdefault(parent, []).append(agent)

    def below(agent: Facts, depth: int) -> Iterator[tuple[Facts, int]]:
        placed.add(agent["agent_id"])
        yield agent, depth
        for child in by_parent.get(agent["agent_id"], []):
            if child["agent_id"] not in placed:
                yield from below(child, depth + 1)

    main = [agent for agent in agents if not agent["agent_id"]]
    for agent in main:
        yield from below(agent, 0)
    for agent in agents:
        if agent["agent_id"] not in placed:
            yield from below(agent, 0)


def sum_cells(row: Facts) -> tuple[str, str, str, str]:
    """Return the cells for requests, tokens, the share read from the cache, and dollars."""
    spent = group_spending("", row)
    cached = share(spent.cached_tokens, spent.tokens)
    return f"{spent.requests:,}", f"{spent.tokens:,}", cached, dollars(spent.cost_usd)
