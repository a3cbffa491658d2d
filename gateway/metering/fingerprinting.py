"""The fingerprint of a prompt that went to a provider, made after its reply.

Nothing here is on a request's way: the client has its last byte by then. A large body is read piece
by piece, with turns of the event loop in between, so that no other stream waits.

Invariant: two prompts whose parts mean the same to the provider have the same numbers. So a text is
the same as a block with that text, and `cache_control` is no part of a block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from shared.bus.fingerprints import (
    LONGEST_NAME,
    MOST_TOOLS,
    Mark,
    PromptFingerprint,
    number_of,
)
from shared.formats.ir import Json
from shared.runtime.exact_json import dump_json

LEAST_TOKENS = 1024  # no provider keeps a shorter prompt
BYTES_AT_ONCE = 128 * 1024  # about half a millisecond between two turns of the event loop
LIFETIMES = {"5m": 300, "1h": 3600}
# OpenAI's pages of 2026-11: five to ten minutes, an hour at the most; a day where it is asked for.
UNMARKED_SECONDS = 600
RETENTION_SECONDS = {"24h": 86_400}
# Settings that change what a provider keeps of the messages, by format.
SETTINGS = {
    "messages": ("tool_choice", "thinking", "output_config", "output_format", "speed"),
    "responses": ("tool_choice", "reasoning", "text", "prompt_cache_key"),
}


# The name of a part by the key of a request that has such parts.
PARTS = {
    "messages": {"tools": "tool", "system": "system", "messages": "message"},
    "responses": {"tools": "tool", "instructions": "system", "input": "message"},
}
NO_PART = frozenset({"content", "id", "cache_control"})
BETWEEN = b"\0"
WHOLE = ("cache_control", "prompt_cache_retention")


async def fingerprint_of(kind: str, document: Json) -> PromptFingerprint:
    """Return the fingerprint of the request `document` to a provider; `kind` as in
    PromptFingerprint.
    """
    parts = Parts(kind)
    rest: Json = {}
    for key, value in document.items():
        name = PARTS[kind].get(key)
        if name is None:
            rest[key] = value
            continue
        for element in value if isinstance(value, list) else [value]:
            parts.add(name, element)
            if parts.hashed >= BYTES_AT_ONCE:
                parts.hashed = 0
                await asyncio.sleep(0)
    return parts.finish(rest)


async def fingerprint_of_values(
    kind: str, values: AsyncIterator[tuple[str, Any]]
) -> PromptFingerprint:
    """Return the fingerprint of a request from a stream of values: lists come element by element,
    keys in any order.
    """
    parts = Parts(kind)
    rest: Json = {}
    async for key, value in values:
        if name := PARTS[kind].get(key):
            parts.add(name, value)
        else:
            rest[key] = value
        if parts.hashed >= BYTES_AT_ONCE:
            parts.hashed = 0
            await asyncio.sleep(0)
    return parts.finish(rest)


def wanted_keys(kind: str) -> tuple[str, ...]:
    """Return the keys of a request needed for a fingerprint."""
    return (*PARTS[kind], *SETTINGS[kind], *WHOLE)


class Parts:
    """The parts of a prompt, added in order."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._tools: list[tuple[str, int]] = []
        self._more_tools = 0
        self._system: list[int] = []
        self._messages: list[int] = []
        # Places within the tools, the system prompt and the messages, which may come in any order.
        self._marks: list[tuple[str, Mark]] = []
        self._blocks = {"tool": 0, "system": 0, "message": 0}
        self._part = "tool"
        self.hashed = 0  # bytes since the last turn of the event loop

    def add(self, name: str, value: Any) -> None:
        """Add a tool, a block of the system prompt or a message."""
        self._part = name
        if name == "tool":
            self._add_tool(value)
        elif name == "system":
            if value is not None:
                self._system.append(self._block(value, 0))
        else:
            self._messages.append(self._message(value))

    def finish(self, document: Json) -> PromptFingerprint:
        """Return the fingerprint; the settings come from `document`."""
        settings = {
            name: self._number(document[name], 0)
            for name in SETTINGS[self._kind]
            if document.get(name) is not None
        }
        if self._more_tools:
            self._tools.append(("more tools", self._more_tools))
        return PromptFingerprint(
            self._kind,
            settings,
            tuple(self._tools),
            tuple(self._system),
            tuple(self._messages),
            tuple(self._all_marks(document)),
            len(self._messages),
        ).bounded()

    def _all_marks(self, document: Json) -> list[Mark]:
        """Return the marks; a mark on the whole request, and a provider without marks, mean the end
        of the prompt.
        """
        before = {"tool": 0, "system": self._blocks["tool"]}
        before["message"] = before["system"] + self._blocks["system"]
        end = len(self._messages), sum(self._blocks.values())
        if self._kind == "responses":
            kept = document.get("prompt_cache_retention")
            seconds = RETENTION_SECONDS.get(str(kept), UNMARKED_SECONDS)
            return [Mark(*end, seconds)]
        marks = [
            replace(mark, block=mark.block + before[part])
            for part, mark in sorted(self._marks, key=lambda found: before[found[0]])
        ]
        if isinstance(whole := document.get("cache_control"), dict):
            marks.append(Mark(*end, marked_seconds(whole)))
        return marks

    def _add_tool(self, tool: Any) -> None:
        number = self._block(tool, 0)
        if len(self._tools) >= MOST_TOOLS:
            self._more_tools = number_of(number.to_bytes(4, "little"), self._more_tools)
            return
        self._tools.append((tool_name(tool)[:LONGEST_NAME], number))

    def _message(self, message: Any) -> int:
        """Return the number of a message, or of an item of a Responses request."""
        place = len(self._messages) + 1
        if not isinstance(message, dict):
            return self._block(message, place)
        content = message.get("content")
        if len(message) == 2 and isinstance(role := message.get("role"), str):
            number = self._text(role, 0)
        else:
            # The id of an item is not read by the model, and a client may leave it out later.
            known = {name: value for name, value in message.items() if name not in NO_PART}
            number = self._number(known, 0)
        for block in content if isinstance(content, list) else [content]:
            number = self._block(block, place, number)
        if "cache_control" in message:
            self._mark(message, place)
        return number

    def _block(self, block: Any, place: int, before: int = 0) -> int:
        """Return the number of a block, continued from `before`, and note the block's mark."""
        self._blocks[self._part] += 1
        # Two blocks are not one with both texts.
        before = number_of(BETWEEN, before)
        if isinstance(block, str):
            return self._text(block, before)
        if not isinstance(block, dict):
            return self._number(block, before)
        bare = block
        if "cache_control" in block:
            self._mark(block, place)
            bare = {name: value for name, value in block.items() if name != "cache_control"}
        if len(bare) == 2 and bare.get("type") == "text" and isinstance(bare.get("text"), str):
            return self._text(bare["text"], before)
        content = bare.get("content")
        if isinstance(content, list):
            # A tool's result has blocks of its own, and one of these may have the mark.
            for part in content:
                if isinstance(part, dict) and "cache_control" in part:
                    self._mark(part, place)
                    bare = bare | {"content": [unmarked(each) for each in content]}
        return self._number(bare, before)

    def _mark(self, block: Json, place: int) -> None:
        if isinstance(mark := block["cache_control"], dict):
            found = Mark(place, self._blocks[self._part], marked_seconds(mark))
            self._marks.append((self._part, found))

    def _text(self, text: str, before: int) -> int:
        return self._bytes(text.encode("utf-8", "surrogatepass"), before)

    def _number(self, value: Any, before: int) -> int:
        return self._bytes(dump_json(value), before)

    def _bytes(self, data: bytes, before: int) -> int:
        self.hashed += len(data)
        return number_of(data, before)


def marked_seconds(mark: Json) -> int:
    return LIFETIMES.get(str(mark.get("ttl")), LIFETIMES["5m"])


def unmarked(part: Any) -> Any:
    if isinstance(part, dict) and "cache_control" in part:
        return {name: value for name, value in part.items() if name != "cache_control"}
    return part


def tool_name(tool: Any) -> str:
    """Return the name of a tool; the type for a tool of the provider without a name."""
    if not isinstance(tool, dict):
        return ""
    function = tool.get("function")
    named = tool.get("name") or (function.get("name") if isinstance(function, dict) else None)
    return str(named or tool.get("type") or "")
