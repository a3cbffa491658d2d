"""A program asks for the turn it works on, and for nobody at any other time; whatever goes wrong is a no."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sdk_worker.asking import Asker
from shared.channels import PermissionAsk, PermissionDecision, Turn
from shared.errors import BusUnavailable

TURN = Turn("r1", {}, caller="alice")


class Desk:
    """Decides at once what it is told to, and keeps what it was asked."""

    def __init__(self, outcome: Any = "allowed") -> None:
        self.asked: list[PermissionAsk] = []
        self.outcome = outcome

    async def ask(self, ask: PermissionAsk) -> PermissionDecision:
        self.asked.append(ask)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return PermissionDecision(ask.request_id, self.outcome)


def call(**arguments: Any) -> dict[str, Any]:
    asked = {"tool_name": "Bash", "input": {"command": "touch x"}, "tool_use_id": "t1", **arguments}
    params = {"name": "check_permission", "arguments": asked}
    return {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}


def said(reply: dict[str, Any]) -> dict[str, Any]:
    assert reply["id"] == 3
    decided: dict[str, Any] = json.loads(reply["result"]["content"][0]["text"])
    return decided


async def test_it_asks_for_its_turn_in_the_directory_it_works_in() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work")
    for turn in (TURN, Turn("r2", {}, caller="bob", session_id="s", working_directory="/else")):
        with asker.on_behalf(turn):
            assert said(await asker.answer(call()))["behavior"] == "allow"
    assert [(ask.caller, ask.session_id, ask.working_directory) for ask in desk.asked] == [
        ("alice", "r1", "/work"),
        ("bob", "s", "/else"),
    ]
    assert (desk.asked[0].tool_name, desk.asked[0].input, desk.asked[0].tool_use_id) == (
        "Bash",
        {"command": "touch x"},
        "t1",
    )
    assert desk.asked[0].request_id != desk.asked[1].request_id


async def test_between_turns_there_is_nobody_to_ask_for() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work")
    with asker.on_behalf(TURN):
        pass
    assert said(await asker.answer(call()))["behavior"] == "deny"
    assert desk.asked == []


@pytest.mark.parametrize("outcome", ["denied", "expired", "cancelled", BusUnavailable()])
async def test_anything_but_a_yes_is_a_no(outcome: Any) -> None:
    asker = Asker(Desk(outcome).ask, "/work")
    with asker.on_behalf(TURN):
        assert said(await asker.answer(call()))["behavior"] == "deny"


async def test_a_call_that_cannot_be_read_is_an_error_which_allows_nothing() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work")
    with asker.on_behalf(TURN):
        answer = await asker.answer(call(input="touch x"))
    assert answer["error"]["code"] == -32602
    assert desk.asked == []


async def test_a_program_that_connects_is_shown_the_tool() -> None:
    asker = Asker(Desk().ask, "/work")
    assert "error" not in await asker.answer({"method": "notifications/initialized"})
    listed = await asker.answer({"id": 1, "method": "tools/list"})
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["check_permission"]


async def test_a_question_withdrawn_by_its_program_is_withdrawn_from_the_desk() -> None:
    begun, withdrawn = asyncio.Event(), asyncio.Event()

    async def ask(_: PermissionAsk) -> PermissionDecision:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()
        raise AssertionError

    asker = Asker(ask, "/work")
    with asker.on_behalf(TURN):
        asking = asyncio.create_task(asker.answer(call()))
        await begun.wait()
        asking.cancel()
        await withdrawn.wait()
