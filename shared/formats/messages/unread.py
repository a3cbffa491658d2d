"""The fields of a Messages request's blocks and tools that no other vendor is sent, and whose names
the client reads in `x-ccproxy-ignored`.

A block of a kind that is not listed here travels whole, or is dropped by its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shared.formats.fields import join
from shared.formats.ir import Json

_CUSTOM_TOOL = frozenset(
    {
        "type",
        "name",
        "description",
        "input_schema",
        "strict",
        "cache_control",
        "eager_input_streaming",
    }
)
_SEARCH_TOOL = frozenset(
    {
        "type",
        "name",
        "allowed_domains",
        "blocked_domains",
        "max_uses",
        "user_location",
        "cache_control",
    }
)
_BLOCKS = {
    "text": frozenset({"text"}),
    "image": frozenset({"source"}),
    "document": frozenset({"source", "title", "context", "citations"}),
    "search_result": frozenset({"source", "title", "content"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "tool_use": frozenset({"id", "name", "input"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error"}),
}
"""What is read of each kind of block. Blocks of other kinds travel whole, or are dropped by
their kind."""
_SAYS_NOTHING: tuple[object, ...] = (
    None,
    "",
    [],
    {},
    False,
    {"type": "direct"},
    {"enabled": False},
)


def unread_of_tools(tools: Iterable[Json]) -> dict[str, None]:
    """Return the fields of the client's tools unknown to all other vendors. The paths have no list
    numbers.
    """
    unread: dict[str, None] = {}
    for tool in tools:
        kind = str(tool.get("type") or "custom")
        if kind == "custom" or kind.startswith("web_search_"):
            known = _CUSTOM_TOOL if kind == "custom" else _SEARCH_TOOL
            names = (
                name
                for name, value in tool.items()
                if name not in known and value not in _SAYS_NOTHING
            )
            unread.update({join("tools[]", name): None for name in names})
    return unread


def unread_of_messages(messages: Iterable[Json]) -> Iterator[str]:
    for message in messages:
        yield from (join("messages[]", name) for name in message if name not in ("role", "content"))
        yield from unread_of_blocks(message.get("content"), "messages[].content")


def unread_of_blocks(blocks: Any, path: str) -> Iterator[str]:
    """Yield the fields of blocks not sent to any other vendor, blocks inside blocks included."""
    for block in blocks if isinstance(blocks, list) else ():
        known = _BLOCKS.get(str(block.get("type"))) if isinstance(block, dict) else None
        if known is None:
            continue
        for name, value in block.items():
            where = f"{path}[].{name}"
            if name not in known and name not in ("type", "cache_control"):
                if value not in _SAYS_NOTHING:
                    yield where
            elif name == "source" and isinstance(value, dict):
                yield from unread_of_blocks(value.get("content"), f"{where}.content")
            elif name == "content":
                yield from unread_of_blocks(value, where)
