"""How a `claude` of this worker asks for permission: over its own pipes, at an MCP server in this process.

Between the program and the desk stands the worker alone, with which the program ends too: whatever else dies, the
question stays. A program asks for the turn it works on; at any other time for nobody, and what it asks is denied.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from sdk_worker.file_before import read_file_before
from sdk_worker.program import Line
from shared import mcp
from shared.channels import PermissionAsk, PermissionDecision, Turn
from shared.errors import CCProxyError, ClientError

SERVER = "confirmation"
TOOL = f"mcp__{SERVER}__{mcp.TOOL}"

Ask = Callable[[PermissionAsk], Awaitable[PermissionDecision]]


class Asker:
    """One program, as the desk knows it. `working_directory` is the program's own."""

    def __init__(self, ask: Ask, working_directory: str) -> None:
        self._ask, self._working_directory = ask, working_directory
        self._turn: Turn | None = None

    @contextlib.contextmanager
    def on_behalf(self, turn: Turn) -> Iterator[None]:
        """While inside, the program asks for this turn."""
        self._turn = turn
        try:
            yield
        finally:
            self._turn = None

    async def answer(self, message: Line) -> Line:
        """The reply to one JSON-RPC message of the program; a call is answered when somebody has decided."""
        if "id" not in message:
            return mcp.NOTED
        if message.get("method") != "tools/call":
            return mcp.answer(message)
        try:
            return mcp.tool_result(message, await self._decide(mcp.read_call(message)))
        except ClientError as error:
            return mcp.error(message, mcp.INVALID_PARAMS, error.message)

    async def _decide(self, asked: Line) -> Line:
        if self._turn is None:
            return mcp.deny("No request is at work here, so nobody can be asked.")
        turn = self._turn
        ask = mcp.ask_for(
            asked,
            caller=turn.caller,
            session_id=turn.session_id or turn.request_id,
            working_directory=turn.working_directory or self._working_directory,
        )
        # The disk may be slow, and other programs of this worker must not wait for it.
        ask.file_before = await asyncio.to_thread(read_file_before, ask.tool_name, ask.input, ask.working_directory)
        try:
            return mcp.behavior(await self._ask(ask), ask.input)
        except CCProxyError as error:
            return mcp.not_placed(error)
