"""The permission tool over MCP and as plain JSON: who asks is known, the wait is shown, in doubt it
is no.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.permission_stack import ACCEPT, Front, running_desk, running_front, said


@pytest.fixture
async def front(redis_url: str) -> AsyncIterator[Front]:
    async with running_front(redis_url, server={"ping_interval_seconds": 0.1}) as front:
        yield front


@pytest.fixture
async def desk(redis_url: str, tmp_path: Path) -> AsyncIterator[None]:
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        yield


async def test_the_conversation_of_a_program_that_connects(front: Front) -> None:
    async def send(message: dict[str, object]) -> dict[str, object]:
        return (
            await front.client.post("/mcp", json={"jsonrpc": "2.0", **message}, headers=ACCEPT)
        ).json()

    probe = await send({"id": "server-discover-probe-1", "method": "server/discover", "params": {}})
    assert (probe["id"], probe["error"]["code"]) == ("server-discover-probe-1", -32601)  # type: ignore[index]
    greeting = await send(
        {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
    )
    assert greeting["result"]["protocolVersion"] == "2025-06-18"  # type: ignore[index]
    noted = await front.client.post(
        "/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}
    )
    assert (noted.status_code, noted.content) == (202, b"")
    assert (await front.client.get("/mcp")).status_code == 405
    listed = await send({"id": 1, "method": "tools/list"})
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["check_permission"]  # type: ignore[index]


@pytest.mark.parametrize("params", [7, [], "x", {"_meta": 7}, {"requestId": {}}])
async def test_a_message_with_odd_parameters_is_answered(front: Front, params: object) -> None:
    odd = {"jsonrpc": "2.0", "params": params}
    session = {"mcp-session-id": "s1", **ACCEPT}
    for method in ("initialize", "tools/call", "ping"):
        body = {**odd, "id": 1, "method": method}
        reply = await front.client.post("/mcp", json=body, headers=session)
        assert reply.json()["id"] == 1
    body = {**odd, "method": "notifications/initialized"}
    assert (await front.client.post("/mcp", json=body, headers=session)).status_code == 202


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("params", [7, [], "x", {"requestId": {}}])
async def test_a_cancel_of_no_call_withdraws_nothing(front: Front, params: object) -> None:
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    reply = await front.client.post("/mcp", json=cancel, headers={"mcp-session-id": "s1"})
    assert reply.status_code == 202


@pytest.mark.usefixtures("desk")
async def test_a_call_streams_progress_until_somebody_allows_it(front: Front) -> None:
    calling = asyncio.create_task(front.call(5))
    (asked,) = await front.pending(1)
    await asyncio.sleep(0.35)
    await front.respond(asked["request_id"])
    *progress, answer = await calling
    assert {message["params"]["progressToken"] for message in progress} == {7}
    counts = [message["params"]["progress"] for message in progress]
    assert counts == sorted(set(counts))
    assert answer["id"] == 5
    assert said(answer) == {"behavior": "allow", "updatedInput": {"command": "touch x"}}


@pytest.mark.usefixtures("desk")
async def test_a_denial_and_an_edit_reach_the_program(front: Front) -> None:
    calling = asyncio.create_task(front.call())
    (asked,) = await front.pending(1)
    await front.respond(asked["request_id"], False, message="use a temporary folder")
    assert said((await calling)[-1]) == {"behavior": "deny", "message": "use a temporary folder"}
    calling = asyncio.create_task(front.call())
    async with front.watch(0) as watching:
        _, second = await watching.until("permission_request", 2)
    await front.respond(second.data["request_id"], updated_input={"command": "touch y"})
    assert said((await calling)[-1]) == {
        "behavior": "allow",
        "updatedInput": {"command": "touch y"},
    }


async def test_with_nobody_to_ask_it_is_no(tmp_path: Path) -> None:
    async with running_front(f"unix://{tmp_path}/nothing-here.sock") as front:
        (answer,) = await front.call()
    assert said(answer)["behavior"] == "deny"
    assert "Nobody could be asked" in said(answer)["message"]


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("wrong", [{"name": "other"}, {"name": "check_permission"}, {}, [], None])
async def test_a_call_that_cannot_be_read_is_an_error_which_allows_nothing(
    front: Front, wrong: object
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wrong}
    answer = (await front.client.post("/mcp", json=message, headers=ACCEPT)).json()
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"id": 1, "method": "ping"}'])
async def test_what_is_not_json_rpc_is_refused(front: Front, body: bytes) -> None:
    answer = await front.client.post(
        "/mcp", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400


@pytest.mark.usefixtures("desk")
async def test_a_program_that_cancels_its_call_withdraws_the_prompt(front: Front) -> None:
    session = {"mcp-session-id": "s1"}
    calling = asyncio.create_task(front.call(9, **session))
    await front.pending(1)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
    async with front.watch() as watching:
        await front.client.post("/mcp", json=cancel, headers={"mcp-session-id": "s2"})
        await front.client.post("/mcp", json=cancel, headers=session)
        await watching.until("permission_cancelled")
    assert said((await calling)[-1])["behavior"] == "deny"


@pytest.mark.usefixtures("desk")
async def test_a_program_that_hangs_up_withdraws_the_prompt_within_a_second(front: Front) -> None:
    calling = asyncio.create_task(front.call())
    async with front.watch() as watching:
        await watching.until("permission_request")
        calling.cancel()
        async with asyncio.timeout(5):
            await watching.until("permission_cancelled")


@pytest.mark.usefixtures("desk")
async def test_plain_json_waits_and_says_what_happened(front: Front) -> None:
    checking = asyncio.create_task(front.check(session_id="mine", working_directory="/w"))
    (asked,) = await front.pending(1)
    assert (asked["session_id"], asked["working_directory"]) == ("mine", "/w")
    await asyncio.sleep(0.15)  # a keep-alive goes out before the answer, and is still JSON
    await front.respond(asked["request_id"])
    assert await checking == {
        "permission_id": asked["request_id"],
        "outcome": "allowed",
        "behavior": "allow",
        "updatedInput": {"command": "touch x"},
    }


@pytest.mark.usefixtures("desk")
async def test_a_caller_may_bring_its_own_patience(front: Front) -> None:
    answer = await front.check(timeout_seconds=0.05)
    assert (answer["outcome"], answer["behavior"]) == ("expired", "deny")
    assert "0.05 seconds" in answer["message"]


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("body", [{"caller": "owner"}, {"input": "x"}, {"timeout_seconds": -1}])
async def test_a_caller_cannot_pass_for_another_nor_send_nonsense(
    front: Front, body: dict[str, object]
) -> None:
    asked = {"tool_name": "Bash", "input": {}, **body}
    assert (await front.client.post("/mcp/permission/check", json=asked)).status_code == 400


@pytest.mark.usefixtures("desk")
async def test_a_gateway_that_stops_tells_the_program_no(redis_url: str) -> None:
    async with running_front(redis_url) as front:
        calling = asyncio.create_task(front.call())
        await front.pending(1)
        front.stop()
        assert said((await calling)[-1])["behavior"] == "deny"


async def test_a_prompt_waits_through_a_time_without_a_desk(
    front: Front, redis_url: str, tmp_path: Path
) -> None:
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        calling = asyncio.create_task(front.call())
        (asked,) = await front.pending(1)
    await asyncio.sleep(1.5)  # longer than a call waits for somebody to take it (`QUICK.no_worker`)
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        await front.pending(
            1
        )  # the service has loaded its requests, and the prompt has asked again
        await front.respond(asked["request_id"])
        assert said((await calling)[-1])["behavior"] == "allow"


class TestWithTokens:
    @pytest.fixture
    async def front(self, redis_url: str) -> AsyncIterator[Front]:
        async with running_front(redis_url, security={"auth_token": "owners-token"}) as front:
            yield front

    async def test_whoever_asks_needs_the_token(self, front: Front) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await front.client.post("/mcp", json=message)).status_code == 401
        assert (
            await front.client.post("/mcp", json=message, headers={"x-api-key": "owners-token"})
        ).status_code == 200
