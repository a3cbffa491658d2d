"""The permission requests of one `claude` process: a hook before every tool call, and the
permission prompt tool.

The hook (`PreToolUse`, over the program's own pipes) sees every call in every permission mode, also
those of subagents and of the owner's MCP servers, and its denial binds. The prompt tool is what
Claude Code asks besides: a question of the model's, a plan, a path that Claude Code guards by
itself. A call is decided once: the prompt for a call that the hook has had decided gets the same
decision.

Invariants: a program asks for the turn it works on, and at any other time its calls are denied.
Whatever goes wrong is a denial in words. Only the worker stands between the program and the
permission service, and the program ends with the worker: whatever else dies, the request stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Literal, Protocol

from sdk_worker.claude.program import Line
from sdk_worker.file_before import read_file_before
from shared.bus.channels import (
    CUSTOM_TOOLS_PREFIX,
    PermissionDecision,
    PermissionNote,
    PermissionRequest,
    Turn,
)
from shared.permissions import mcp
from shared.permissions.deciders import BY_BUILT_IN
from shared.permissions.protected import ProtectedPaths
from shared.permissions.reach import Reach, reach_of
from shared.permissions.tools import FILE_WRITERS, QUESTION
from shared.runtime.errors import CCProxyError, ClientError

SERVER = "confirmation"
TOOL = f"mcp__{SERVER}__{mcp.TOOL}"
HOOK_EVENT = "PreToolUse"
HOOK_ID = "permission"
# Longer than anybody waits: the program ends a hook after 60 s by default, and takes less than 2^31
# milliseconds.
HOOK_SECONDS = 20 * 86_400
# `block`: a hook that fails, or does not answer in time, stops the call.
HOOKS = {
    HOOK_EVENT: [
        {
            "matcher": None,
            "hookCallbackIds": [HOOK_ID],
            "timeout": HOOK_SECONDS,
            "onFailure": "block",
        }
    ]
}
NO_TURN = "No request is at work here, so nobody can be asked."

Note = Callable[[PermissionNote], None]


class AskPermission(Protocol):
    """Decides on a permission request. `on_waiting` is called once a person is asked, if the
    request announces that.
    """

    def __call__(
        self, ask: PermissionRequest, on_waiting: Callable[[], None] = ...
    ) -> Awaitable[PermissionDecision]: ...


def note_nothing(_: PermissionNote) -> None: ...


class Asker:
    """Asks permission for the tool calls of a program at work in `working_directory`.

    The text of a file in `protected` never leaves this process. With `bypass` no person is asked:
    the hook denies protected and ruled-out calls only, and leaves all remaining calls to Claude
    Code.
    """

    def __init__(
        self,
        ask: AskPermission,
        working_directory: str,
        protected: ProtectedPaths,
        *,
        bypass: bool = False,
    ) -> None:
        self._ask = ask
        self._protected = protected
        self._working_directory = working_directory
        self._bypass = bypass
        self._open = 0  # requests that are not decided yet
        self._turn: Turn | None = None
        self._note: Note = note_nothing
        # The hook's decisions of this turn, by the id of the tool call.
        self._decided: dict[str, Line] = {}

    @property
    def is_asking(self) -> bool:
        """Return True while a request is not decided yet."""
        return self._open > 0

    @contextlib.contextmanager
    def on_behalf(self, turn: Turn, note: Note = note_nothing) -> Iterator[None]:
        """Attribute the program's permission requests to `turn` while the context is open. `note`
        hears of each request of a managed turn.
        """
        self._turn = turn
        self._note = note
        try:
            yield
        finally:
            self._turn = None
            self._note = note_nothing
            self._decided.clear()

    async def answer(self, message: Line) -> Line:
        """Return the reply to one JSON-RPC message of the program, after the decision if the
        message is a call.
        """
        if "id" not in message:
            return mcp.NOTED
        if message.get("method") != "tools/call":
            return mcp.answer_message(message)
        try:
            asked = mcp.read_call(message)
        except ClientError as error:
            return mcp.error_reply(message, mcp.INVALID_PARAMS, error.message)
        # The hook has had most calls decided before the program prompts. A second question about
        # the same call could get the opposite answer.
        said = self._decided.get(str(asked.get("tool_use_id") or ""))
        if said is None:
            said, _ = await self._decide(asked, self._working_directory, insists=True)
        return mcp.tool_result(message, said)

    async def before_tool(self, call: Line) -> Line:
        """Return the hook's output for one tool call. `call` is the input of a
        `PreToolUse` hook.
        """
        tool_name = call.get("tool_name")
        given = call.get("tool_input")
        if not isinstance(tool_name, str) or not isinstance(given, dict):
            return hook_denial("The tool call could not be read, so it was not allowed.")
        if tool_name in custom_names(self._turn):
            # The session's client does the work of the tool, and nothing acts here.
            return hook_permission()
        if self._bypass and tool_name == QUESTION:
            # The model asks a person. The prompt tool alone knows whether a person can be asked.
            return {}
        tool_use_id = str(call.get("tool_use_id") or "")
        asked = {"tool_name": tool_name, "input": given, "tool_use_id": tool_use_id}
        folder = str(call.get("cwd") or self._working_directory)
        agent = str(call.get("agent_type") or "")
        said, by = await self._decide(asked, folder, agent=agent, bypass=self._bypass)
        if said["behavior"] != "allow":
            return hook_denial(said["message"])
        # Claude Code goes on by its own permission mode: an `allow` of the hook would lift the
        # checks that Claude Code makes besides.
        if self._bypass:
            return {}
        # A built-in rule never answers a call that Claude Code itself asks about, so the prompt for
        # such a call must ask again. The turn may have ended while the call was decided.
        if tool_use_id and self._turn is not None and by != BY_BUILT_IN:
            self._decided[tool_use_id] = said
        allowed = hook_permission()
        if said["updatedInput"] != given:
            allowed["hookSpecificOutput"]["updatedInput"] = said["updatedInput"]
        return allowed

    async def _decide(
        self,
        asked: Line,
        folder: str,
        *,
        agent: str = "",
        bypass: bool = False,
        insists: bool = False,
    ) -> tuple[Line, str]:
        """Return the decision on a call in the words of the prompt tool, and the name of the
        decider.

        Relative paths of the call begin in `folder`, which differs from the working folder once a
        command changes it.
        """
        # Outside of a turn the call has no caller: a person could not know for whom the tool would
        # act.
        if self._turn is None:
            return mcp.deny(NO_TURN), ""
        turn = self._turn
        ask = mcp.request_from(
            asked,
            caller=turn.caller,
            session_id=turn.session_id or turn.request_id,
            working_directory=turn.working_directory or self._working_directory,
        )
        ask.agent = agent
        ask.bypass = bypass
        ask.insists = insists
        # The disk may be slow, and other programs of this worker must not wait for it.
        ask.reach = await asyncio.to_thread(known_reach, ask.tool_name, ask.input, folder)
        # The text is read for a person alone; with `bypass` no person is asked.
        if not bypass and self._may_read_file_of(ask):
            ask.file_before = await asyncio.to_thread(
                read_file_before, ask.tool_name, ask.input, folder
            )
        # Counted only while a person may be thinking: `Worker` gives that silence a limit of its
        # own. The reading of the disk above is not a person's time.
        self._open += 1
        try:
            decision = await (self._ask(ask) if turn.managed is None else self._noted(ask, turn))
        except CCProxyError as error:
            return mcp.not_placed(error), ""
        finally:
            self._open -= 1
        return mcp.behavior(decision, ask.input), decision.decided_by

    async def _noted(self, ask: PermissionRequest, turn: Turn) -> PermissionDecision:
        """Return the decision on a call of a managed turn; send a note of every state of the
        call.
        """
        assert turn.managed is not None
        note = partial(PermissionNote, ask.tool_use_id, ask.request_id)
        ask.must_ask = ask.tool_name in turn.managed.asks
        ask.announces = True
        # Claude Code alone limits what the program is offered. A second guard costs nothing.
        if ask.tool_name not in turn.managed.tools:
            ask.refused = f"The agent of this session may not use {ask.tool_name}."
        say = self._note
        try:
            decision = await self._ask(ask, lambda: say(note("waiting")))
        except CCProxyError as error:
            say(note("denied", message=error.message))
            raise
        state: Literal["allowed", "denied"] = (
            "allowed" if decision.outcome == "allowed" else "denied"
        )
        say(note(state, decision.decided_by, decision.message))
        return decision

    def _may_read_file_of(self, ask: PermissionRequest) -> bool:
        """Return True when the call changes a file, and the file is certainly not protected."""
        if ask.tool_name not in FILE_WRITERS:
            return False
        return (
            self._protected.touched_by(ask) is None
            and self._protected.may_be_touched_by(ask) is None
        )


def known_reach(tool_name: str, given: dict[str, Any], folder: str) -> Reach:
    """Return the paths and hosts touched by a tool call; an unknown reach for paths impossible in a
    file system.
    """
    try:
        return reach_of(tool_name, given, os.path.realpath(folder))
    except (OSError, ValueError):
        return Reach()


def custom_names(turn: Turn | None) -> list[str]:
    """Return the program's names of the custom tools of a turn's session."""
    managed = turn.managed if turn is not None else None
    return [CUSTOM_TOOLS_PREFIX + tool.name for tool in managed.custom_tools] if managed else []


def hook_permission() -> Line:
    decision = {"hookEventName": HOOK_EVENT, "permissionDecision": "allow"}
    return {"hookSpecificOutput": decision}


def hook_denial(message: str) -> Line:
    decision = {
        "hookEventName": HOOK_EVENT,
        "permissionDecision": "deny",
        "permissionDecisionReason": message,
    }
    return {"hookSpecificOutput": decision}
