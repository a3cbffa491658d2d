"""A captured request as blocks: the system prompt, each tool and each message, with estimated
tokens, in the order in which a model reads them.

Invariant: every part of the request that a model reads is in one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from json import JSONDecodeError
from math import ceil
from typing import Any

from gateway.proxy.estimate import COUNTED, tokens_in
from shared.captures.capture import Part
from shared.formats.ir import Json
from shared.runtime.exact_json import deeper_than, dump_json, load_json
from shared.runtime.visible_text import visible, visible_line

SHOWN_CHARACTERS = 64 * 1024  # of one block; a longer one is cut in the middle
DEEPEST_SHOWN = 64  # levels of a part that is shown as a model reads it; a deeper one is JSON
# Fields with blocks of their own; the others a model reads are one block.
OWN_BLOCKS = ("system", "instructions", "tools", "functions", "messages", "input")
TEXT_FIELDS = ("text", "thinking", "output_text", "refusal")


@dataclass(frozen=True, slots=True)
class PromptBlock:
    """A part of a request. `kind` is `system`, `tool`, `message` or `settings`; `digest` is the
    same for the same content.
    """

    kind: str
    label: str
    tokens: int
    text: str
    digest: str

    def shown(self, total: int) -> dict[str, Any]:
        """Return the block for people and programs; `total` are the tokens of the request."""
        return {
            "kind": self.kind,
            "label": visible_line(self.label),
            "tokens": self.tokens,
            "share": round(self.tokens / total, 4) if total else 0.0,
            "text": visible(cut_in_middle(self.text)),
            "characters": len(self.text),
        }


def document_of(part: Part) -> Json | None:
    """Return the JSON object in a part's body; None for a body that is no whole object."""
    try:
        document = load_json(part.body.encode())
    except JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def prompt_blocks(document: Json) -> list[PromptBlock]:
    """Return the blocks of a request in any client's format."""
    found = [*_system(document), *_tools(document)]
    messages = document.get("messages")
    if messages is None:
        messages = document.get("input")
    entries = messages if isinstance(messages, list) else [messages] if messages else []
    for number, entry in enumerate(entries, 1):
        found.append(_block("message", f"{number}. {_name_of_entry(entry)}", entry))
    rest = {name: document[name] for name in COUNTED if name in document and name not in OWN_BLOCKS}
    if rest:
        found.append(_block("settings", "Settings that the model reads", rest))
    return found


def total_tokens(blocks: list[PromptBlock]) -> int:
    return sum(block.tokens for block in blocks)


def _system(document: Json) -> Iterator[PromptBlock]:
    for name in ("system", "instructions"):
        value = document.get(name)
        parts = value if isinstance(value, list) else [value] if value else []
        for number, part in enumerate(parts, 1):
            label = "System prompt" if len(parts) == 1 else f"System prompt, part {number}"
            yield _block("system", label, part)


def _tools(document: Json) -> Iterator[PromptBlock]:
    for field in ("tools", "functions"):
        tools = document.get(field)
        for tool in tools if isinstance(tools, list) else ():
            yield _block("tool", f"Tool {_name_of_tool(tool)}", tool)


def _name_of_tool(tool: Any) -> str:
    if not isinstance(tool, dict):
        return "without a name"
    inner = tool.get("function")
    name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return str(name or tool.get("type") or "without a name")[:120]


def _name_of_entry(entry: Any) -> str:
    """Return the role of a message's author, or the type of an item."""
    if not isinstance(entry, dict):
        return "user"
    role = str(entry.get("role") or entry.get("type") or "item")[:60]
    content = entry.get("content")
    kinds = {
        str(part.get("type"))
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, dict)
    }
    for kind, words in (("tool_result", "tool result"), ("tool_use", "tool call")):
        if kind in kinds:
            return f"{role}, {words}"
    return role


def _block(kind: str, label: str, value: Any) -> PromptBlock:
    text = readable_text(value)
    digest = sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return PromptBlock(kind, label, ceil(tokens_in(value)), text, digest)


def readable_text(value: Any) -> str:
    """Return a part of a request as the model reads it: texts unchanged, the rest as JSON."""
    return _as_json(value) if deeper_than(value, DEEPEST_SHOWN) else _as_read(value)


def _as_read(value: Any) -> str:
    match value:
        case str():
            return value
        case list():
            return "\n\n".join(text for each in value if (text := _as_read(each)))
        case {"content": content, **rest} if isinstance(content, str | list):
            others = {name: each for name, each in rest.items() if name not in ("role", "type")}
            head = [_as_json(others)] if others else []
            return "\n".join([*head, _as_read(content)])
        case dict():
            for name in TEXT_FIELDS:
                told: Any = value.get(name)
                if isinstance(told, str) and len(value) <= 3:
                    return told
            return _as_json(value)
    return _as_json(value)


def _as_json(value: Any) -> str:
    return dump_json(value).decode("utf-8", "replace")


def cut_in_middle(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return at most `limit` characters and a note of the number of characters left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
