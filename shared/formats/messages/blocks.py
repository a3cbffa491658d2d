"""Single content blocks and tools in Anthropic's spelling, and the names and ids its patterns force
on them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import defaultdict, deque
from hashlib import sha256
from typing import Any

from shared.formats.fields import drop_empty
from shared.formats.ir import (
    Document,
    Image,
    Json,
    Prompt,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    WebSearch,
)
from shared.formats.json_text import load_text
from shared.runtime.errors import ClientError

ESCAPED = "ccpx_"
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
CUSTOM_INPUT = "input"
"""A custom tool's free text travels as this one property of a function's arguments."""


def clean_id(call_id: str) -> str:
    """Return `call_id` if `tool_use.id` allows `call_id`, else the base64 of `call_id`. Different
    ids stay different.
    """
    if _ID.fullmatch(call_id) and not call_id.startswith(ESCAPED):
        return call_id
    return ESCAPED + base64.urlsafe_b64encode(call_id.encode("utf-8", "surrogatepass")).decode(
        "ascii"
    ).rstrip("=")


class WireIds:
    """The ids of a conversation's calls, unique as the service wants them.

    Some programs begin counting anew in every turn. The first call keeps its id, a later one of the
    same id gets a number, always the same one: a longer conversation begins as the shorter one did.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, call_id: str) -> str:
        wanted = clean_id(call_id)
        found = wanted
        number = 1
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._taken.add(found)
        return found


def wire_name(name: str, namespace: str = "") -> str:
    """Return a tool's name as allowed by Anthropic's pattern. A changed name ends in a hash of the
    old name, so that names stay different.
    """
    full = f"{namespace}__{name}" if namespace else name
    if _NAME.fullmatch(full):
        return full
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', full)[:119]}_{sha256(full.encode()).hexdigest()[:8]}"


def tools_by_wire_name(prompt: Prompt) -> dict[str, Tool]:
    return {
        wire_name(tool.name, tool.namespace): tool
        for tool in prompt.tools
        if isinstance(tool, Tool)
    }


def cache_control(lifetime: str) -> Json:
    """Return the cache control for OpenAI's half hour: five minutes, which every hit renews,
    because an hour costs double.
    """
    return {"type": "ephemeral", "ttl": "1h"} if lifetime.endswith("h") else {"type": "ephemeral"}


def text_block(part: Text | Refusal) -> Json:
    return {"type": "text", "text": part.text}


def image_block(part: Image) -> Json:
    if part.data:
        source = {"type": "base64", "media_type": _image_type(part), "data": part.data}
    else:
        source = {"type": "url", "url": _https(part.url, part.file_id, "image")}
    return {"type": "image", "source": source}


def _image_type(part: Image) -> str:
    """Return the media type of an image's bytes: the service refuses an image with a label that
    contradicts the bytes.
    """
    try:
        head = base64.b64decode(part.data[:24], validate=True)
    except binascii.Error as error:
        raise ClientError("image: the data is not valid base64.", param="image") from error
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    found = next(
        (kind for magic, kind in _MAGIC.items() if head.startswith(magic)), part.media_type
    )
    if found not in IMAGE_TYPES:
        raise ClientError(
            f"image: {found or 'this type'} is not accepted; use PNG, JPEG, GIF or WebP.",
            param="image",
        )
    return found


def _https(url: str, file_id: str, kind: str) -> str:
    if file_id:
        raise ClientError(
            f"{kind}: the file id {file_id!r} belongs to another provider; send the content.",
            param=kind,
        )
    if not url.startswith("https://"):
        raise ClientError(f"{kind}: the provider fetches https:// addresses only.", param=kind)
    return url


def document_block(part: Document) -> Json:
    citations = {"enabled": True} if part.citations else None
    about = drop_empty(title=part.name, context=part.context, citations=citations)
    return {"type": "document", "source": _document_source(part), **about}


def _document_source(part: Document) -> Json:
    if part.data and part.media_type == "application/pdf":
        return {"type": "base64", "media_type": "application/pdf", "data": part.data}
    if part.data or part.text:
        return {"type": "text", "media_type": "text/plain", "data": part.text or _decoded(part)}
    return {"type": "url", "url": _https(part.url, part.file_id, "file")}


def _decoded(part: Document) -> str:
    try:
        return base64.b64decode(part.data, validate=True).decode("utf-8")
    except ValueError as error:
        raise ClientError(
            f"file: {part.media_type or part.name or 'this'} is neither PDF nor text.", param="file"
        ) from error


def tool_use_block(part: ToolCall, wire_id: str) -> Json:
    name = wire_name(part.name, part.namespace)
    return {"type": "tool_use", "id": wire_id, "name": name, "input": call_input(part)}


def call_input(part: ToolCall) -> Any:
    """Return the object spelled by the arguments; any other text is kept unchanged under `_raw`."""
    if part.kind == "custom":
        return {CUSTOM_INPUT: part.arguments}
    try:
        arguments = load_text(part.arguments or "{}")
    except ValueError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"_raw": part.arguments}


def custom_tool(tool: Tool) -> Json:
    description = tool.description or ""
    if tool.grammar:
        grammar = tool.grammar.get("definition") or json.dumps(tool.grammar, ensure_ascii=False)
        description += (
            f"\n\nThe input must match this {tool.grammar.get('syntax', '')} grammar:\n{grammar}"
        )
    properties = {
        CUSTOM_INPUT: {"type": "string", "description": "The tool's whole input, as plain text."}
    }
    return {
        "name": wire_name(tool.name, tool.namespace),
        **drop_empty(description=description.strip()),
        "input_schema": {"type": "object", "properties": properties, "required": [CUSTOM_INPUT]},
    }


def web_search_tool(tool: WebSearch) -> Json:
    return {"type": "web_search_20250305", "name": "web_search"} | drop_empty(
        max_uses=tool.max_uses,
        allowed_domains=list(tool.allowed_domains),
        blocked_domains=list(tool.blocked_domains),
        user_location={"type": "approximate", **tool.location} if tool.location else None,
    )


class Results:
    """The tool results of a conversation, given out in the order of the answered calls."""

    def __init__(self, prompt: Prompt) -> None:
        self._waiting: defaultdict[str, deque[ToolResult]] = defaultdict(deque)
        for message in prompt.messages:
            for part in message.parts:
                if isinstance(part, ToolResult):
                    self._waiting[part.call_id].append(part)

    def take(self, call: ToolCall) -> ToolResult:
        if not self._waiting[call.id]:
            raise ClientError(
                f"messages: the call {call.id!r} of the tool {call.name!r} has no result.",
                param="messages",
            )
        return self._waiting[call.id].popleft()

    def refuse_leftovers(self) -> None:
        for call_id, waiting in self._waiting.items():
            if waiting:
                raise ClientError(
                    f"messages: a tool result answers no call: {call_id!r}.", param="messages"
                )
