"""A program asks for the turn it works on, and for nobody at any other time; whatever goes wrong is
a no.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdk_worker.asking import Asker
from shared.bus.channels import (
    CUSTOM_TOOLS_PREFIX,
    CustomTool,
    ManagedTurn,
    PermissionDecision,
    PermissionNote,
    PermissionRequest,
    Turn,
)
from shared.permissions.protected import ProtectedPath, ProtectedPaths
from shared.runtime.errors import BusUnavailable

OUTSIDE = os.path.realpath("/etc/hostname")
TURN = Turn("r1", {}, caller="alice")
PROTECTED = ProtectedPaths([ProtectedPath(".env", "the configuration", anywhere=True)], home="/")


class Desk:
    """Decides at once what it is told to, and keeps what it was asked."""

    def __init__(self, outcome: Any = "allowed") -> None:
        self.asked: list[PermissionRequest] = []
        self.outcome = outcome

    async def ask(self, ask: PermissionRequest) -> PermissionDecision:
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
    asker = Asker(desk.ask, "/work", PROTECTED)
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


async def test_it_is_asking_until_each_request_is_decided() -> None:
    may_decide = asyncio.Event()

    async def ask(asked: PermissionRequest) -> PermissionDecision:
        await may_decide.wait()
        return PermissionDecision(asked.request_id, "allowed")

    asker = Asker(ask, "/work", PROTECTED)
    assert not asker.is_asking
    with asker.on_behalf(TURN):
        calls = [asyncio.create_task(asker.answer(call(tool_use_id=name))) for name in ("t1", "t2")]
        async with asyncio.timeout(5):
            while not asker.is_asking:  # noqa: ASYNC110 - the loop is asked, not the clock
                await asyncio.sleep(0)
            calls[0].cancel()
            await asyncio.gather(calls[0], return_exceptions=True)
            may_decide.set()
            await calls[1]
    assert not asker.is_asking


async def test_between_turns_there_is_nobody_to_ask_for() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        pass
    assert said(await asker.answer(call()))["behavior"] == "deny"
    assert desk.asked == []


@pytest.mark.parametrize("outcome", ["denied", "expired", "cancelled", BusUnavailable()])
async def test_anything_but_a_yes_is_a_no(outcome: Any) -> None:
    asker = Asker(Desk(outcome).ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        assert said(await asker.answer(call()))["behavior"] == "deny"


async def test_a_call_that_cannot_be_read_is_an_error_which_allows_nothing() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        answer = await asker.answer(call(input="touch x"))
    assert answer["error"]["code"] == -32602
    assert desk.asked == []


async def test_a_program_that_connects_is_shown_the_tool() -> None:
    asker = Asker(Desk().ask, "/work", PROTECTED)
    assert "error" not in await asker.answer({"method": "notifications/initialized"})
    listed = await asker.answer({"id": 1, "method": "tools/list"})
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["check_permission"]


async def test_a_question_withdrawn_by_its_program_is_withdrawn_from_the_desk() -> None:
    begun, withdrawn = asyncio.Event(), asyncio.Event()

    async def ask(_: PermissionRequest) -> PermissionDecision:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()
        raise AssertionError

    asker = Asker(ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        asking = asyncio.create_task(asker.answer(call()))
        await begun.wait()
        asking.cancel()
        await withdrawn.wait()


def hook_call(tool_name: str = "Bash", **given: Any) -> dict[str, Any]:
    tool_input = given or {"command": "touch x"}
    return {
        "tool_name": tool_name,
        "tool_input": tool_input,
        "tool_use_id": "t1",
        "cwd": "/srv/deeper",
    }


def hook_said(reply: dict[str, Any]) -> str:
    return str(reply["hookSpecificOutput"]["permissionDecision"])


async def test_a_hook_asks_with_what_the_call_touches_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(OUTSIDE)
    desk = Desk()
    asker = Asker(desk.ask, str(tmp_path), PROTECTED)
    with asker.on_behalf(TURN):
        asked = {
            **hook_call("Read", file_path="link"),
            "cwd": str(tmp_path),
            "agent_type": "Explore",
        }
        assert hook_said(await asker.before_tool(asked)) == "allow"
    [ask] = desk.asked
    assert ask.reach is not None
    assert [path.real for path in ask.reach.paths] == [OUTSIDE]
    assert (ask.agent, ask.working_directory, ask.bypass, ask.insists) == (
        "Explore",
        str(tmp_path),
        False,
        False,
    )


async def test_a_prompt_for_a_call_that_the_hook_had_decided_asks_nobody_again() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        assert hook_said(await asker.before_tool(hook_call())) == "allow"
        assert said(await asker.answer(call()))["behavior"] == "allow"
        assert len(desk.asked) == 1
        assert said(await asker.answer(call(tool_use_id="t2")))["behavior"] == "allow"
    assert len(desk.asked) == 2
    with asker.on_behalf(TURN):  # ids of another turn mean nothing
        await asker.answer(call())
    assert len(desk.asked) == 3


async def test_a_prompt_for_a_call_that_a_built_in_rule_allowed_is_asked_about() -> None:
    asked: list[PermissionRequest] = []

    async def ask(request: PermissionRequest) -> PermissionDecision:
        asked.append(request)
        return PermissionDecision(
            request.request_id, "allowed", decided_by="" if request.insists else "built_in"
        )

    asker = Asker(ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        await asker.before_tool(hook_call())
        await asker.answer(call())
    assert [request.insists for request in asked] == [False, True]


async def test_the_input_that_a_person_wrote_is_what_runs() -> None:
    async def ask(request: PermissionRequest) -> PermissionDecision:
        return PermissionDecision(request.request_id, "allowed", updated_input={"command": "true"})

    asker = Asker(ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        reply = await asker.before_tool(hook_call())
    assert reply["hookSpecificOutput"]["updatedInput"] == {"command": "true"}


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("outcome", ["denied", "expired", "cancelled", BusUnavailable()])
async def test_a_hook_denies_whatever_is_not_allowed(outcome: Any, bypass: bool) -> None:
    asker = Asker(Desk(outcome).ask, "/work", PROTECTED, bypass=bypass)
    with asker.on_behalf(TURN):
        reply = await asker.before_tool(hook_call())
    assert hook_said(reply) == "deny"
    assert reply["hookSpecificOutput"]["permissionDecisionReason"]


@pytest.mark.parametrize(
    "broken", [{}, {"tool_name": 5, "tool_input": {}}, {"tool_name": "Bash", "tool_input": "ls"}]
)
async def test_a_hook_denies_a_call_that_cannot_be_read(broken: dict[str, Any]) -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        assert hook_said(await asker.before_tool(broken)) == "deny"
    assert desk.asked == []


async def test_a_hook_denies_between_turns() -> None:
    desk = Desk()
    assert hook_said(await Asker(desk.ask, "/work", PROTECTED).before_tool(hook_call())) == "deny"
    assert desk.asked == []


async def test_a_path_that_no_file_system_takes_is_of_unknown_reach() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    with asker.on_behalf(TURN):
        await asker.before_tool(hook_call("Read", file_path="a\0b"))
        await asker.before_tool(hook_call("Read", file_path="/x" * 3000))
    assert [ask.reach is not None for ask in desk.asked] == [True, True]


async def test_in_bypass_mode_the_service_is_asked_and_claude_code_decides_the_rest() -> None:
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED, bypass=True)
    with asker.on_behalf(TURN):
        assert await asker.before_tool(hook_call()) == {}
        assert await asker.before_tool(hook_call("AskUserQuestion", questions=[])) == {}
    assert [(ask.tool_name, ask.bypass) for ask in desk.asked] == [("Bash", True)]


@pytest.mark.parametrize("tool_name", ["Edit", "Write", "MultiEdit", "NotebookEdit"])
async def test_the_text_of_a_protected_file_is_not_sent(tool_name: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=secret")
    (tmp_path / "link").symlink_to(".env")
    (tmp_path / "notes").write_text("open")
    field = "notebook_path" if tool_name == "NotebookEdit" else "file_path"
    spellings = [".env", "link", f"{tmp_path}/sub/../.env", "%2eenv", "notes"]
    desk = Desk("denied")
    asker = Asker(desk.ask, str(tmp_path), PROTECTED)
    with asker.on_behalf(TURN):
        for spelling in spellings:
            await asker.before_tool(
                {**hook_call(tool_name, **{field: spelling}), "cwd": str(tmp_path)}
            )
            await asker.answer(call(tool_name=tool_name, input={field: spelling}, tool_use_id="t9"))
    sent = [ask.file_before.text for ask in desk.asked if ask.file_before is not None]
    assert len(desk.asked) == 2 * len(spellings)
    assert sent == ["open", "open"]


async def test_a_managed_turn_hears_of_each_permission_and_asks_as_its_agent_wants() -> None:
    asked: list[PermissionRequest] = []
    notes: list[PermissionNote] = []

    async def ask(
        request: PermissionRequest, on_waiting: Callable[[], None] = lambda: None
    ) -> PermissionDecision:
        asked.append(request)
        if request.must_ask:
            on_waiting()
        outcome: Any = "denied" if request.refused else "allowed"
        return PermissionDecision(request.request_id, outcome, decided_by="alice")

    managed = ManagedTurn(tools=["Bash", "Read"], asks=["Bash"])
    asker = Asker(ask, "/work", PROTECTED)
    with asker.on_behalf(Turn("r1", {}, managed=managed), notes.append):
        for tool in ("Bash", "Read", "Write"):
            call = {"tool_name": tool, "tool_input": {}, "tool_use_id": tool}
            await asker.before_tool(call)
    assert [(note.tool_use_id, note.state) for note in notes] == [
        ("Bash", "waiting"),
        ("Bash", "allowed"),
        ("Read", "allowed"),
        ("Write", "denied"),
    ]
    assert [note.request_id for note in notes[1:]] == [each.request_id for each in asked]
    assert "may not use Write" in asked[2].refused
    assert all(each.announces for each in asked)


async def test_a_permission_that_nobody_can_be_asked_for_is_noted_as_denied() -> None:
    notes: list[PermissionNote] = []

    async def ask(
        request: PermissionRequest, on_waiting: Callable[[], None] = lambda: None
    ) -> PermissionDecision:
        raise BusUnavailable

    asker = Asker(ask, "/work", PROTECTED)
    with asker.on_behalf(Turn("r1", {}, managed=ManagedTurn(["Bash"])), notes.append):
        await asker.before_tool({"tool_name": "Bash", "tool_input": {}, "tool_use_id": "t"})
    [note] = notes
    assert (note.state, bool(note.message)) == ("denied", True)


async def test_a_custom_tool_of_the_session_needs_no_permission_and_no_other_has_that_right():
    desk = Desk()
    asker = Asker(desk.ask, "/work", PROTECTED)
    managed = ManagedTurn(custom_tools=[CustomTool("weather", "d", {})])
    for turn, allowed in ((Turn("r1", {}, managed=managed), True), (TURN, False)):
        desk.asked.clear()
        with asker.on_behalf(turn):
            called = {"tool_name": CUSTOM_TOOLS_PREFIX + "weather", "tool_input": {}}
            said = await asker.before_tool(called)
        assert said["hookSpecificOutput"]["permissionDecision"] == "allow"
        assert bool(desk.asked) is not allowed
