"""Signed reasoning that a client's format has no place for, kept between the turns of a tool loop.

Chat Completions sends a tool's result back without the thinking that asked for it, and Claude
refuses or degrades such a turn. So sealed reasoning is kept by the tool call's id and put back in
its place. Without stored reasoning (no bus, too old) the turn is sent without thinking rather than
refused.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson

from shared.bus import Bus
from shared.formats.envelope import unwrap, wrap
from shared.formats.ir import Fail, Message, Part, Prompt, Reply, Thinking, ToolCall
from shared.runtime.errors import BusUnavailable

# A conversation continued after a day starts without stored reasoning.
TTL_SECONDS = 24 * 3600.0


class ReasoningMemory:
    """The stored reasoning of tool calls. Keys are the caller and the call's id, so no caller gets
    another caller's reasoning.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self, caller: str, reply: Reply | Fail) -> None:
        """Store the reasoning of every call: all sealed blocks since the call before."""
        if isinstance(reply, Fail):
            return
        sealed: list[str] = []
        for part in reply.parts:
            if isinstance(part, Thinking) and part.signature:
                sealed.append(wrap(part))
            elif isinstance(part, ToolCall) and sealed:
                try:
                    await self._bus.put(key(caller, part.id), orjson.dumps(sealed), ttl=TTL_SECONDS)
                except BusUnavailable:
                    return
                sealed = []

    async def restore(self, caller: str, prompt: Prompt) -> Prompt:
        """Return `prompt` with the reasoning of its earlier tool calls in the original places."""
        calls = [
            part.id
            for message in prompt.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        ]
        if not calls:
            return prompt
        try:
            found = await asyncio.gather(*(self._bus.get(key(caller, call)) for call in calls))
        except BusUnavailable:
            return prompt
        kept = {call: unwrap_all(data) for call, data in zip(calls, found, strict=True) if data}
        return replace(
            prompt, messages=tuple(restored(message, kept) for message in prompt.messages)
        )


def restored(message: Message, kept: dict[str, list[Thinking]]) -> Message:
    """Return an assistant turn with the stored reasoning, in place of the unsigned reasoning a
    client may have echoed.
    """
    if not any(isinstance(part, ToolCall) and part.id in kept for part in message.parts):
        return message
    parts: list[Part] = []
    opening: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            thoughts = kept.get(part.id, [])
            # The reasoning of the first call opens the turn, before any text: Claude expects a turn
            # with tools to begin so. The reasoning of a later call stands right before the call.
            if any(isinstance(earlier, ToolCall) for earlier in parts):
                parts += thoughts
            else:
                opening += thoughts
        if not (isinstance(part, Thinking) and not part.signature):
            parts.append(part)
    return replace(message, parts=(*opening, *parts))


def unwrap_all(data: bytes) -> list[Thinking]:
    return [thought for text in orjson.loads(data) if (thought := unwrap(text)) is not None]


def key(caller: str, call_id: str) -> str:
    return f"reasoning:{caller}:{call_id}"
