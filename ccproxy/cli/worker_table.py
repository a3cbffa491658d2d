"""The table of `ccproxy workers`: what supervisord of this machine and the heartbeats of all
machines know of each worker.

A worker that beats is described by itself. supervisord adds the workers of this machine that do
not: those that are starting, or fail to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Facts = dict[str, Any]

COLUMNS = (
    "HOST", "WORKER", "STATE", "LABELS", "WARM", "BUSY", "WAITING", "VERSION", "CLAUDE",
    "HEARTBEAT",
)  # fmt: skip
UNKNOWN = "-"


def worker_rows(started: Iterable[Facts], beating: Iterable[Facts], now: float) -> list[Facts]:
    """Return the facts about every worker, by host and name.

    `started` are supervisord's facts, `beating` the heartbeats as `/sdk/status` lists them, `now`
    is in UTC seconds.
    """
    rows = [beating_row(facts, now) for facts in beating]
    known = {(row["name"], row["pid"]) for row in rows}
    rows += [
        row for facts in started if ((row := started_row(facts))["name"], row["pid"]) not in known
    ]
    return sorted(rows, key=lambda row: (row["host"] or "", row["name"]))


def beating_row(facts: Facts, now: float) -> Facts:
    """Return the facts about a worker from its heartbeat. Its pool is unknown until it has looked
    at it.
    """
    state = "draining" if facts.get("draining") else "running"
    beat_at = facts.get("beat_at")
    return {
        "name": facts["instance"],
        "host": facts.get("host"),
        # A worker has described its pool before it takes its first turn.
        "state": state if "driver" in facts else "starting",
        "pid": facts["pid"],
        "running_seconds": max(0, int(now - facts["started_at"])),
        "labels": facts.get("labels", []),
        "warm": facts.get("idle"),
        "busy": facts.get("busy"),
        "waiting": facts.get("waiting"),
        "version": facts.get("ccproxy_version"),
        "claude_version": facts.get("version"),
        "heartbeat_seconds": None if beat_at is None else round(max(0.0, now - beat_at), 1),
        "draining": bool(facts.get("draining")),
        "problem": facts.get("problem"),
    }


def started_row(facts: Facts) -> Facts:
    """Return the facts about a worker that supervisord knows and that does not beat."""
    silent = dict.fromkeys(
        ("warm", "busy", "waiting", "version", "claude_version", "heartbeat_seconds", "problem")
    )
    return {
        "name": facts["name"],
        "host": None,
        "state": facts["statename"].lower(),
        "pid": facts["pid"] or None,
        "running_seconds": facts["now"] - facts["start"] if facts["pid"] else 0,
        "labels": [],
        "draining": False,
        **silent,
    }


def worker_cells(row: Facts) -> list[str]:
    """Return the cells of a worker in the order of COLUMNS."""
    beat = row["heartbeat_seconds"]
    values = (
        row["host"],
        row["name"],
        row["state"],
        ", ".join(row["labels"]),
        row["warm"],
        row["busy"],
        row["waiting"],
        row["version"],
        row["claude_version"],
        None if beat is None else f"{beat:.0f} s ago",
    )
    return [UNKNOWN if value in (None, "") else str(value) for value in values]


def queue_lines(status: Facts) -> Iterator[str]:
    """Yield a sentence for each queue of turns that no worker has taken yet."""
    waiting = (status.get("line") or {}).get("waiting", 0)
    if waiting:
        yield f"{waiting} waiting for any worker."
    for queue in status.get("chosen", []):
        yield f"{queue['waiting']} waiting for {', '.join(queue['labels'])}."
