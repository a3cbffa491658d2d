"""The custom tools of a managed session, offered to its program as an MCP server that lives in this
process.

The client of the session does the work of such a tool. A call is noted in the replies of its turn,
and the client's result comes over the bus to the process that waits for it (`ResultDesk`). Nothing
acts on this machine, so no permission is asked.

Invariants: a call waits only while its turn runs, and ends with one result: the client's, or words
that say why there is none. What the gateway is told of a call comes in the order of the turn's
frames.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from shared.bus import Delivery
from shared.bus.channels import (
    CUSTOM_TOOLS_SERVER,
    CustomCallNote,
    CustomResult,
    CustomTool,
    Turn,
    decode_payload,
)
from shared.permissions import mcp
from shared.runtime.errors import NotFound

Line = dict[str, Any]
Note = Callable[[CustomCallNote], None]

TOOL_USE_ID = "claudecode/toolUseId"  # Claude Code's name for the id of the call, in its `_meta`
# Claude Code keeps a longer result in a file, and shows the model its beginning. The number is the
# largest that it takes; the gateway's limit of a result is lower.
SHOWN_CHARS = 500_000
# The terms of the server with Claude Code: a call may take 20 days and is never moved to the
# background, and the tools are in the prompt however many they are.
SERVER_TERMS: Line = {"timeout": 20 * 86_400_000, "disableAutoBackground": True, "alwaysLoad": True}
NO_TURN = "No turn is at work here, so nobody can answer this call."
UNNAMED = "This version of Claude Code does not name its calls. Update it: `claude update`."


class ResultDesk:
    """The calls of a worker that wait for results. `address` is the worker's address on the bus;
    `seconds` is the longest wait for a result, None for no limit.
    """

    def __init__(self, address: str, seconds: float | None) -> None:
        self.address = address
        self.seconds = seconds
        self._waiting: dict[tuple[str, str], asyncio.Future[CustomResult]] = {}

    @contextlib.contextmanager
    def waiting(self, request_id: str, tool_use_id: str) -> Iterator[asyncio.Future[CustomResult]]:
        """Yield the future result of a call of the turn `request_id`, open while the context is."""
        key = (request_id, tool_use_id)
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            del self._waiting[key]

    async def take(self, delivery: Delivery) -> None:
        """Hand a result of CUSTOM_RESULTS to its call. Raises NotFound if the call does not
        wait, or has a result.
        """
        result = decode_payload(CustomResult, delivery.payload)
        future = self._waiting.get((result.request_id, result.tool_use_id))
        if future is None or future.done():
            raise NotFound("The call does not wait for a result any more.")
        future.set_result(result)


class CustomTools:
    """The MCP server of one program. `tools` are the tools of its session."""

    def __init__(self, tools: list[CustomTool], desk: ResultDesk) -> None:
        self._listed = [listed_tool(tool) for tool in tools]
        self._names = {tool.name for tool in tools}
        self._desk = desk
        self._turn: tuple[Turn, Note] | None = None
        self._open = 0

    @property
    def is_waiting(self) -> bool:
        """Return True while a call waits for a result."""
        return self._open > 0

    @contextlib.contextmanager
    def on_behalf(self, turn: Turn, note: Note) -> Iterator[None]:
        """Attribute the program's calls to `turn` while the context is open. `note` hears of each
        call.
        """
        self._turn = turn, note
        try:
            yield
        finally:
            self._turn = None

    async def answer(self, message: Line) -> Line:
        """Return the reply to one JSON-RPC message of the program, after the client's result if the
        message is a call.
        """
        if "id" not in message:
            return mcp.NOTED
        if message.get("method") != "tools/call":
            about = {"name": CUSTOM_TOOLS_SERVER, "version": "1"}
            return mcp.answer_message(message, self._listed, about)
        name = mcp.params_of(message).get("name")
        tool_use_id = mcp.meta_of(message).get(TOOL_USE_ID)
        if self._turn is None:
            return mcp.result(message, without_result(NO_TURN))
        if not isinstance(name, str) or name not in self._names:
            return mcp.result(message, without_result(f"There is no tool {name!r} here."))
        if not isinstance(tool_use_id, str):
            return mcp.result(message, without_result(UNNAMED))
        return mcp.result(message, await self._result_of(tool_use_id, *self._turn))

    async def _result_of(self, tool_use_id: str, turn: Turn, note: Note) -> Line:
        """Return the result of a call, once the client has sent it. Notes the beginning of the
        wait, and an end without a result.
        """
        desk = self._desk
        self._open += 1
        try:
            with desk.waiting(turn.request_id, tool_use_id) as future:
                # After the call can be answered: the answer may come at once.
                note(CustomCallNote(tool_use_id, "waiting", desk.address))
                async with asyncio.timeout(desk.seconds):
                    result = await future
        except TimeoutError:
            words = f"The client sent no result within {desk.seconds:g} seconds."
            note(CustomCallNote(tool_use_id, "over", desk.address, words))
            return without_result(words)
        except asyncio.CancelledError:
            words = "Claude Code took the call back before its result came."
            note(CustomCallNote(tool_use_id, "over", desk.address, words))
            raise
        finally:
            self._open -= 1
        return {"content": list(map(mcp_block, result.content)), "isError": result.is_error}


def listed_tool(tool: CustomTool) -> Line:
    """Return a tool as MCP lists it. It changes nothing on this machine, so Claude Code may place
    several calls at once.
    """
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": {"readOnlyHint": True},
        "_meta": {"anthropic/maxResultSizeChars": SHOWN_CHARS},
    }


def mcp_block(block: Line) -> Line:
    """Return a text or an image of the Messages format as MCP spells it."""
    if block["type"] == "image":
        source = block["source"]
        return {"type": "image", "data": source["data"], "mimeType": source["media_type"]}
    return {"type": "text", "text": block["text"]}


def without_result(words: str) -> Line:
    """Return words for the model in place of a result."""
    return {"content": [{"type": "text", "text": words}], "isError": True}
