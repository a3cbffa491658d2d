"""The hooks of agents at the gateway: rules answer at once, a person while the owner is away, and
whatever goes wrong is no decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.permission_stack import Front, running_desk, running_front

HOOK = "/hooks/permission-request"
HEADERS = {"x-ccproxy-machine": "laptop", "x-ccproxy-agent": "claude"}
ALLOWED = {
    "hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}}
}


def hook(command: str = "touch x", **fields: Any) -> dict[str, Any]:
    return {
        "session_id": "s1",
        "cwd": "/work",
        "hook_event_name": "PermissionRequest",
        "tool_name": "Bash",
        "tool_input": {"command": command},
        "permission_suggestions": [
            {"type": "setMode", "mode": "bypassPermissions", "destination": "localSettings"}
        ],
    } | fields


@pytest.fixture
async def front(redis_url: str) -> AsyncIterator[Front]:
    async with running_front(redis_url, server={"ping_interval_seconds": 0.1}) as front:
        yield front


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return tmp_path / "rules.toml"


@pytest.fixture
async def desk(redis_url: str, rules: Path) -> AsyncIterator[None]:
    async with running_desk(redis_url, rules):
        yield


async def post(front: Front, body: Any, path: str = HOOK, **headers: str) -> httpx.Response:
    return await front.client.post(path, json=body, headers=HEADERS | headers)


async def go_away(front: Front) -> None:
    changed = await front.client.post("/permissions/away", json={"state": "on"})
    assert changed.json()["away"] is True


@pytest.mark.usefixtures("desk")
async def test_at_the_desk_an_agent_is_left_to_its_own_terminal(front: Front) -> None:
    assert (await post(front, hook())).json() == {}
    assert (await front.client.get("/permissions")).json()["pending"] == []


async def test_rules_decide_at_the_desk_too(front: Front, redis_url: str, rules: Path) -> None:
    rules.write_text(  # noqa: ASYNC240 - a few bytes
        '[[rules]]\ntool = "Bash"\ncommand_prefix = "git status"\n'
        '[[rules]]\neffect = "deny"\ntool = "Bash"\ncommand_prefix = "git push"\n'
    )
    async with running_desk(redis_url, rules):
        assert (await post(front, hook("git status -s"))).json() == ALLOWED
        denied = (await post(front, hook("git push"))).json()["hookSpecificOutput"]["decision"]
        assert denied["behavior"] == "deny"
        assert "git push" in denied["message"]


@pytest.mark.usefixtures("desk")
async def test_away_a_person_decides_and_sees_the_machine_and_the_folder(front: Front) -> None:
    await go_away(front)
    asking = asyncio.create_task(post(front, hook()))
    (shown,) = await front.pending(1)
    assert (shown["machine"], shown["program"], shown["working_directory"]) == (
        "laptop",
        "Claude Code",
        "/work",
    )
    asker = {line["label"]: line["text"] for line in shown["presentation"]["asker"]}
    assert asker["Machine"] == "laptop"
    await asyncio.sleep(0.25)  # pings, which are white space before the answer
    await front.respond(shown["request_id"])
    assert (await asking).json() == ALLOWED


@pytest.mark.usefixtures("desk")
async def test_an_answer_carries_a_changed_input_and_never_a_suggestion(front: Front) -> None:
    await go_away(front)
    asking = asyncio.create_task(post(front, hook()))
    (shown,) = await front.pending(1)
    await front.respond(shown["request_id"], updated_input={"command": "touch y"})
    decision = (await asking).json()["hookSpecificOutput"]["decision"]
    assert decision == {"behavior": "allow", "updatedInput": {"command": "touch y"}}


@pytest.mark.usefixtures("desk")
async def test_codex_gets_no_changed_input(front: Front) -> None:
    await go_away(front)
    asking = asyncio.create_task(post(front, hook(turn_id="t1"), **{"x-ccproxy-agent": "codex"}))
    (shown,) = await front.pending(1)
    refused = await front.respond(shown["request_id"], updated_input={"command": "touch y"})
    assert refused.status_code == 400
    assert "Codex takes no changed input" in refused.json()["error"]["message"]
    await front.respond(shown["request_id"], allowed=False, message="touch y instead")
    decision = (await asking).json()["hookSpecificOutput"]["decision"]
    assert decision == {"behavior": "deny", "message": "touch y instead"}


@pytest.mark.usefixtures("desk")
async def test_a_cut_connection_withdraws_the_request_everywhere(front: Front) -> None:
    await go_away(front)
    async with front.watch() as watching:
        asking = asyncio.create_task(post(front, hook()))
        await watching.until("permission_request")
        asking.cancel()
        (event,) = await watching.until("permission_cancelled")
    late = await front.respond(event.data["request_id"])
    assert late.status_code == 409
    assert "gone" in late.json()["error"]["message"]


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("event", ["PostToolBatch", "Stop"])
async def test_a_call_that_was_allowed_in_the_terminal_is_withdrawn(
    front: Front, event: str
) -> None:
    await go_away(front)
    asking = asyncio.create_task(post(front, hook()))
    other = asyncio.create_task(post(front, hook(session_id="s2")))
    await front.pending(2)
    await post(front, {"hook_event_name": event, "session_id": "s1"}, "/hooks/notice")
    assert (await asking).json() == {}
    (left,) = await front.pending(1)
    assert left["session_id"] == "s2"
    other.cancel()


@pytest.mark.usefixtures("desk")
async def test_the_return_of_the_owner_hands_back_what_waits(front: Front) -> None:
    await go_away(front)
    async with front.watch() as watching:
        asking = asyncio.create_task(post(front, hook()))
        sdk = asyncio.create_task(front.check())
        await watching.until("permission_request", 2)
        await front.client.post("/permissions/away", json={"state": "off"})
        assert (await asking).json() == {}
        (event,) = await watching.until("permission_cancelled")
        assert "in its own terminal" in event.data["message"]
        presence = [event.data["away"] for event in await watching.until("presence", 1)]
        assert presence == [False]
    (left,) = await front.pending(1)
    await front.respond(left["request_id"])
    assert (await sdk)["behavior"] == "allow"


async def test_nobody_in_time_is_no_decision(front: Front, redis_url: str, rules: Path) -> None:
    async with running_desk(redis_url, rules, timeout_seconds=0.2):
        await go_away(front)
        assert (await post(front, hook())).json() == {}


async def test_a_watcher_is_asked_at_the_desk_if_the_owner_wants_it(
    front: Front, redis_url: str, rules: Path
) -> None:
    async with running_desk(redis_url, rules, hooks_ask="watched"):
        assert (await post(front, hook())).json() == {}
        async with front.watch() as watching:
            await watching.until("ping", 2)
            asking = asyncio.create_task(post(front, hook()))
            (event,) = await watching.until("permission_request")
            await front.respond(event.data["request_id"])
            assert (await asking).json() == ALLOWED


@pytest.mark.usefixtures("desk")
async def test_an_agent_beyond_its_share_is_left_to_its_own_terminal(
    front: Front, redis_url: str, rules: Path
) -> None:
    await go_away(front)
    large = hook("x" * 300_000)
    assert (await post(front, large)).json() == {}


@pytest.mark.usefixtures("desk")
async def test_news_of_agents_reach_watchers_without_the_models_words(front: Front) -> None:
    async with front.watch() as watching:
        await watching.until("ping", 2)
        waits = {"hook_event_name": "Notification", "message": "Claude needs \x1b[2J you"}
        await post(front, waits | {"session_id": "s1", "cwd": "/work"}, "/hooks/notice")
        done = {"hook_event_name": "Stop", "last_assistant_message": "SECRET", "cwd": "/work"}
        await post(front, done, "/hooks/notice")
        first, second = [event.data for event in await watching.until("notice", 2)]
    assert (first["kind"], first["machine"], first["folder"]) == ("waits", "laptop", "/work")
    assert "\x1b" not in first["text"]
    assert (second["kind"], second["program"], second["text"]) == ("done", "Claude Code", "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "JSON object"),
        (hook(hook_event_name="PreToolUse"), "hook_event_name"),
        (hook(tool_name=""), "tool_name"),
        (hook(tool_name=5), "tool_name: expected a text"),
        (hook(cwd=["x"]), "cwd"),
        (hook(ccproxy={"links": {"a": "relative"}}), "ccproxy.links"),
    ],
)
async def test_a_hook_that_cannot_be_read_is_told_the_field(
    front: Front, body: Any, words: str
) -> None:
    answer = await post(front, body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_a_token_that_may_ask_can_neither_answer_nor_go_away(redis_url: str) -> None:
    tokens = [{"name": "hook", "token": "hook-token", "scopes": ["ask"]}]
    async with running_front(redis_url, security={"tokens": tokens}) as front:
        key = {"x-api-key": "hook-token"}
        for path, body in [
            ("/permissions/x/respond", {"allowed": True}),
            ("/permissions/away", {"state": "on"}),
            ("/permissions/rules", {"tool": "Bash"}),
        ]:
            assert (await front.client.post(path, json=body, headers=key)).status_code == 403
        assert (await front.client.post(HOOK, json=hook())).status_code == 401


AGENTS = 5
EACH = 10


async def test_fifty_requests_of_five_agents_keep_their_order_and_get_their_own_answers(
    redis_url: str, rules: Path
) -> None:
    names = [f"agent{number}" for number in range(AGENTS)]
    tokens = [{"name": name, "token": f"token-of-{name}", "scopes": ["ask"]} for name in names]
    security = {"auth_token": "the-owners-token", "tokens": tokens}
    async with running_desk(redis_url, rules), running_front(redis_url, security=security) as front:
        front.client.headers["x-api-key"] = "the-owners-token"
        await go_away(front)
        asking: dict[str, asyncio.Task[httpx.Response]] = {}
        async with front.watch() as watching:
            for number in range(EACH):
                for name in names:
                    key = {"x-api-key": f"token-of-{name}"}
                    body = hook(f"touch {name}-{number}", session_id=name)
                    asking[f"{name}-{number}"] = asyncio.create_task(post(front, body, **key))
                # A row of all agents at once; an agent's own requests come one after the other.
                await watching.until("permission_request", (number + 1) * AGENTS)
            events = [event.data for event in await watching.until("permission_request", 50)]
            for name in names:
                mine = [event["input"]["command"] for event in events if event["caller"] == name]
                assert mine == [f"touch {name}-{number}" for number in range(EACH)]
            for place, event in enumerate(events):
                words = event["input"]["command"].removeprefix("touch ")
                await front.respond(event["request_id"], allowed=place % 2 == 0, message=words)
            for place, event in enumerate(events):
                words = event["input"]["command"].removeprefix("touch ")
                answer = (await asking[words]).json()
                decision = answer["hookSpecificOutput"]["decision"]
                denied = {"behavior": "deny", "message": words}
                assert decision == ({"behavior": "allow"} if place % 2 == 0 else denied)
