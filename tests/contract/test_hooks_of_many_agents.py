"""Fifty hooks of five agents wait at once: in order, each with its own answer, all in the audit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.analytics_process import Analytics, analytics, eventually
from tests.support.permission_stack import Front, running_desk, running_front

pytestmark = pytest.mark.long

__all__ = ["analytics"]  # a fixture

AGENTS = [f"machine-{number}" for number in range(5)]
EACH = 10
TOKENS = [{"name": agent, "token": f"secret-of-{agent}", "scopes": ["ask"]} for agent in AGENTS]
OWNER = {"x-api-key": "the-owner-s-secret"}


@pytest.fixture
async def front(redis_url: str, tmp_path: Path, analytics: Analytics) -> AsyncIterator[Front]:
    security = {"auth_token": OWNER["x-api-key"], "tokens": TOKENS}
    async with (
        running_desk(redis_url, tmp_path / "rules.toml"),
        running_front(redis_url, security=security) as front,
    ):
        changed = await front.client.post("/permissions/away", json={"state": "on"}, headers=OWNER)
        assert changed.json()["away"] is True
        yield front


async def ask_by_hook(front: Front, agent: str, number: int) -> str:
    """Return the behavior that the hook of `agent` gets for its request `number`."""
    body = {
        "hook_event_name": "PermissionRequest",
        "session_id": f"session-of-{agent}",
        "cwd": f"/srv/{agent}",
        "tool_name": "Bash",
        "tool_input": {"command": f"touch {agent}-{number}"},
    }
    headers = {"x-api-key": f"secret-of-{agent}", "x-ccproxy-machine": agent}
    answer = await front.client.post("/hooks/permission-request", json=body, headers=headers)
    decision: dict[str, Any] = answer.json().get("hookSpecificOutput", {}).get("decision", {})
    return str(decision.get("behavior", "none"))


async def pending(front: Front, count: int) -> list[dict[str, Any]]:
    """Return what is pending, once that are `count`."""
    async with front.watch(**OWNER) as watching:
        await watching.until("permission_request", count)
    found: list[dict[str, Any]] = (await front.client.get("/permissions", headers=OWNER)).json()[
        "pending"
    ]
    return found


async def test_fifty_requests_of_five_agents_stay_in_order_and_apart(front: Front) -> None:
    asked = {}
    order = []
    for number in range(EACH):
        for agent in AGENTS:
            command = f"touch {agent}-{number}"
            order.append(command)
            asked[command] = asyncio.create_task(ask_by_hook(front, agent, number))
            await pending(front, len(order))
    waiting = await pending(front, len(order))
    assert [each["input"]["command"] for each in waiting] == order
    assert [each["machine"] for each in waiting[: len(AGENTS)]] == AGENTS

    # Answered in any order, by a choice that depends on the request alone.
    chosen = {command: number % 3 != 0 for number, command in enumerate(order)}
    shuffled = list(waiting)
    random.Random(1).shuffle(shuffled)
    for each in shuffled:
        answer = await front.client.post(
            f"/permissions/{each['request_id']}/respond",
            json={"allowed": chosen[each["input"]["command"]]},
            headers=OWNER,
        )
        assert answer.status_code == 200
    for command, task in asked.items():
        assert await task == ("allow" if chosen[command] else "deny")

    # An agent's token sees and answers nothing.
    for agent in AGENTS:
        headers = {"x-api-key": f"secret-of-{agent}"}
        assert (await front.client.get("/permissions", headers=headers)).status_code == 403

    rows = await audited(front, len(order))
    outcomes = {row["input"]: row["outcome"] for row in rows}
    assert len(outcomes) == len(order)
    for row in rows:
        agent = row["machine"]
        assert row["caller"] == agent
        assert row["decided_by"] == "owner"
        assert row["working_directory"] == f"/srv/{agent}"
        assert f"touch {agent}-" in row["input"]


async def audited(front: Front, count: int) -> list[dict[str, Any]]:
    """Return the permission log, once it has `count` requests."""
    rows: list[dict[str, Any]] = []

    async def is_complete() -> bool:
        answer = await front.client.get("/permissions/log?limit=200", headers=OWNER)
        rows[:] = answer.json().get("results", [])
        return len(rows) >= count

    await eventually(is_complete)
    return rows
