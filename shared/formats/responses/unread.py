"""The fields of a Responses request's items that no other vendor is told, and whose caller hears of
that.

An item of a kind that is not listed here travels whole, or is dropped by its kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.formats.fields import Object
from shared.formats.ir import Json

_ITEM = "type id status internal_chat_message_metadata_passthrough"
_PART = "type prompt_cache_breakpoint cache_control"
ITEMS = {
    kind: frozenset(f"{_ITEM} {names}".split())
    for kind, names in {
        "message": "role content phase",
        "function_call": "call_id name arguments namespace",
        "custom_tool_call": "call_id name input namespace",
        "local_shell_call": "call_id action",
        "function_call_output": "call_id output name namespace",
        "custom_tool_call_output": "call_id output name namespace",
        "local_shell_call_output": "call_id output",
        "reasoning": "summary encrypted_content",
        "additional_tools": "role tools",
    }.items()
}
PARTS = {
    kind: frozenset(f"{_PART} {names}".split())
    for kind, names in {
        **dict.fromkeys(("input_text", "output_text", "text"), "text"),
        "input_image": "detail file_id image_url",
        "input_file": "file_data file_id file_url filename",
        "refusal": "refusal",
    }.items()
}
"""What is read of each kind of item and of content. `id` and `status` are an item's own
bookkeeping. Items of other kinds travel whole, or are dropped by their kind."""
_SAYS_NOTHING: tuple[object, ...] = (None, "", [], {}, False, {"type": "direct"}, "auto")


def unread_of_items(items: list[Object]) -> Iterator[str]:
    """Yield the fields of items and of item content not sent to any other vendor."""
    for item in items:
        kind = str(item.get("type") or "message")
        yield from _unread(item.value, "input[]", ITEMS.get(kind))
        for name in ("content", "output"):
            parts = item.get(name)
            for part in parts if isinstance(parts, list) and kind in ITEMS else ():
                if isinstance(part, dict):
                    yield from _unread(part, f"input[].{name}[]", PARTS.get(str(part.get("type"))))


def _unread(shape: Json, path: str, known: frozenset[str] | None) -> Iterator[str]:
    """Yield the meaningful fields of an object outside of `known`; no field of a kind that travels
    whole.
    """
    if known is not None:
        yield from (
            f"{path}.{name}"
            for name, value in shape.items()
            if name not in known and value not in _SAYS_NOTHING
        )
