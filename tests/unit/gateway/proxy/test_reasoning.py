"""Sealed reasoning comes back where it stood, for the same caller only, and its absence is no
error.
"""

from __future__ import annotations

from gateway.proxy.reasoning import ReasoningMemory
from shared.formats.ir import (
    Fail,
    Message,
    Prompt,
    Reply,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from shared.runtime.errors import BusUnavailable


class Shelf:
    """The two verbs of the bus that are needed; `away` makes both fail."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        assert ttl > 0
        if self.away:
            raise BusUnavailable
        self.kept[key] = value

    async def get(self, key: str) -> bytes | None:
        if self.away:
            raise BusUnavailable
        return self.kept.get(key)


def thought(text: str) -> Thinking:
    return Thinking(text, f"seal of {text}", "anthropic")


REPLY = Reply(
    "m",
    "x",
    (thought("a"), thought("b"), ToolCall("1", "f"), thought("c"), ToolCall("2", "g")),
    Stop(),
)
ECHOED = (Thinking("a b", ""), Text("hm"), ToolCall("1", "f"), ToolCall("2", "g"))
PROMPT = Prompt(
    "x", (Message("assistant", ECHOED), Message("user", (ToolResult("1"), ToolResult("2"))))
)


def memory() -> tuple[ReasoningMemory, Shelf]:
    shelf = Shelf()
    return ReasoningMemory(shelf), shelf  # type: ignore[arg-type]


async def test_each_call_gets_back_what_was_thought_before_it() -> None:
    remembering, _ = memory()
    await remembering.keep("me", REPLY)
    restored = await remembering.restore("me", PROMPT)
    parts = restored.messages[0].parts
    assert parts == (
        thought("a"),
        thought("b"),
        Text("hm"),
        ToolCall("1", "f"),
        thought("c"),
        ToolCall("2", "g"),
    )
    assert restored.messages[1] == PROMPT.messages[1]


async def test_no_caller_gets_another_s_reasoning() -> None:
    remembering, _ = memory()
    await remembering.keep("me", REPLY)
    assert await remembering.restore("you", PROMPT) == PROMPT


async def test_without_the_bus_the_turn_goes_on_without() -> None:
    remembering, shelf = memory()
    shelf.away = True
    await remembering.keep("me", REPLY)
    assert await remembering.restore("me", PROMPT) == PROMPT


async def test_a_failed_reply_and_unsealed_thoughts_leave_nothing() -> None:
    remembering, shelf = memory()
    await remembering.keep("me", Fail("broke"))
    await remembering.keep("me", Reply("m", "x", (Thinking("a"), ToolCall("1", "f")), Stop()))
    assert not shelf.kept
