"""Events as a Messages stream, and a whole reply as a message.

Reasoning that another vendor sealed travels in the signature's place, wrapped and recognisable: it
comes back with the next request, and only then means something. We never make up a signature of
Anthropic's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from shared.formats import ir
from shared.formats.envelope import OWN_SEARCH, wrap
from shared.formats.generated_images import image_url_of
from shared.formats.ir import Json
from shared.formats.messages.blocks import call_input
from shared.formats.messages.errors import write_error
from shared.formats.messages.stream_in import STOP_REASONS
from shared.formats.written import Frame

IMAGE_LOST = (
    "(The model made an image. The Messages format has no block for it; the other formats carry "
    "it.)"
)
_REASONS = {reason: name for name, reason in STOP_REASONS.items()}
_NO_FRAMES: tuple[Frame, ...] = ()
_DELTAS = {
    ir.Text: ("text_delta", "text"),
    ir.Refusal: ("text_delta", "text"),
    ir.Thinking: ("thinking_delta", "thinking"),
    ir.ToolCall: ("input_json_delta", "partial_json"),
}


class Writer:
    """The writer of a Messages stream. Feed well-formed events. A block without a meaning in this
    format leaves no trace, not even a number.
    """

    __slots__ = ("_delta", "_handlers", "_held", "_id", "_index", "_model", "_searches")

    def __init__(self, prompt: ir.Prompt, *, id: str, created: int, model: str) -> None:  # noqa: A002
        del prompt, created
        self._id = id
        self._model = model
        self._index = 0
        self._delta: tuple[str, str] | None = None
        self._held: list[str] | None = None
        self._searches = 0
        self._handlers: dict[type, Callable[[Any], Sequence[Frame]]] = {
            ir.Delta: self._on_delta,
            ir.Start: self._on_start,
            ir.Open: self._on_open,
            ir.Cite: self._on_cite,
            ir.Seal: self._on_seal,
            ir.Close: self._on_close,
            ir.Ping: lambda _: (Frame("ping", {"type": "ping"}),),
            ir.Stop: self._on_stop,
            ir.Fail: lambda fail: (Frame("error", write_error(fail)),),
        }

    def feed(self, event: ir.Event) -> Sequence[Frame]:
        return self._handlers[type(event)](event)

    def _on_start(self, start: ir.Start) -> Sequence[Frame]:
        message = _message(self._id, start.model or self._model, [], start.usage, None)
        return (Frame("message_start", {"type": "message_start", "message": message}),)

    def _on_open(self, opened: ir.Open) -> Sequence[Frame]:
        if is_foreign_search(opened.part):
            return self._search(opened.part.data)
        if image_url_of(opened.part):
            said = (ir.Open(ir.Text("")), ir.Delta(IMAGE_LOST), ir.Close())
            return [frame for event in said for frame in self.feed(event)]
        # Without a header the block leaves no trace: `_delta` stays None, and its deltas and its
        # end are dropped.
        block = _header(opened.part)
        if block is None:
            return _NO_FRAMES
        self._delta = _DELTAS.get(type(opened.part), ("", ""))
        self._held = (
            [] if isinstance(opened.part, ir.ToolCall) and opened.part.kind == "custom" else None
        )
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return (Frame("content_block_start", start),)

    def _search(self, call: Json) -> Sequence[Frame]:
        """A search another vendor ran, as the call and the result Anthropic would have shown."""
        used, found = search_blocks(call)
        self._delta = None
        self._searches += 1
        frames: list[Frame] = []
        for block in (used, found):
            start = {"type": "content_block_start", "index": self._index, "content_block": block}
            if block is used:
                start["content_block"] = used | {"input": {}}
            frames.append(Frame("content_block_start", start))
            if block is used:
                text = json.dumps(used["input"], ensure_ascii=False, separators=(",", ":"))
                frames.append(self._block_delta({"type": "input_json_delta", "partial_json": text}))
            frames.append(
                Frame("content_block_stop", {"type": "content_block_stop", "index": self._index})
            )
            self._index += 1
        return frames

    def _on_delta(self, delta: ir.Delta) -> Sequence[Frame]:
        if self._delta is None:
            return _NO_FRAMES
        if self._held is not None:
            self._held.append(delta.text)
            return _NO_FRAMES
        kind, field = self._delta
        return (self._block_delta({"type": kind, field: delta.text}),)

    def _block_delta(self, delta: Json) -> Frame:
        return Frame(
            "content_block_delta",
            {"type": "content_block_delta", "index": self._index, "delta": delta},
        )

    def _on_cite(self, cite: ir.Cite) -> Sequence[Frame]:
        return (
            self._block_delta({"type": "citations_delta", "citation": _citation(cite.citation)}),
        )

    def _on_seal(self, seal: ir.Seal) -> Sequence[Frame]:
        return (self._block_delta({"type": "signature_delta", "signature": _signature(seal)}),)

    def _on_close(self, close: ir.Close) -> Sequence[Frame]:
        del close
        if self._delta is None:
            return _NO_FRAMES
        frames = [Frame("content_block_stop", {"type": "content_block_stop", "index": self._index})]
        # A custom tool's text becomes one property of a JSON object, which can be written only when
        # the text is whole.
        if self._held is not None:
            arguments = call_input(ir.ToolCall("", "", "".join(self._held), "custom"))
            text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
            frames.insert(0, self._block_delta({"type": "input_json_delta", "partial_json": text}))
        self._delta = self._held = None
        self._index += 1
        return frames

    def _on_stop(self, stop: ir.Stop) -> Sequence[Frame]:
        end = {
            "type": "message_delta",
            "delta": _ending(stop),
            "usage": _usage(stop.usage, stop, self._searches),
        }
        return (Frame("message_delta", end), Frame("message_stop", {"type": "message_stop"}))


def write_reply(prompt: ir.Prompt, reply: ir.Reply, *, id: str, created: int, model: str) -> Json:  # noqa: A002
    del prompt, created
    content = [block for part in reply.parts for block in _whole(part)]
    searches = sum(is_foreign_search(part) for part in reply.parts)
    return _message(id, reply.model or model, content, reply.stop.usage, reply.stop, searches)


def _message(
    token: str,
    model: str,
    content: list[Json],
    usage: ir.Usage,
    stop: ir.Stop | None,
    searches: int = 0,
) -> Json:
    ending = _ending(stop) if stop else {"stop_reason": None, "stop_sequence": None}
    message = {
        "id": f"msg_{token}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
    }
    return message | ending | {"usage": _usage(usage, stop, searches)}


def _ending(stop: ir.Stop) -> Json:
    ending: Json = {"stop_reason": _REASONS[stop.reason], "stop_sequence": stop.stop_sequence}
    if stop.explanation is not None or stop.category is not None:
        ending["stop_details"] = {
            "type": "refusal",
            "category": stop.category,
            "explanation": stop.explanation,
        }
    return ending


def _usage(usage: ir.Usage, stop: ir.Stop | None, searches: int) -> Json:
    written: Json = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if searches:
        written["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if stop and stop.service_tier:
        written["service_tier"] = (
            stop.service_tier if stop.service_tier in {"priority", "batch"} else "standard"
        )
    return written


def _header(part: ir.ReplyPart) -> Json | None:
    """Return the start of a block, or None for a block unreadable for Anthropic's clients."""
    match part:
        case ir.Text() | ir.Refusal():
            return {"type": "text", "text": ""}
        case ir.Thinking(redacted=True, vendor="anthropic"):
            return {"type": "redacted_thinking", "data": part.signature}
        case ir.Thinking():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ir.ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
        case ir.Opaque(vendor="anthropic", data=data):
            return data
    return None


def is_foreign_search(part: ir.ReplyPart) -> TypeGuard[ir.Opaque]:
    return (
        isinstance(part, ir.Opaque)
        and part.vendor == "openai"
        and part.data.get("type") == "web_search_call"
    )


def search_blocks(call: Json) -> tuple[Json, Json]:
    """Return a `web_search_call` item as Anthropic's call and result. A mark in the id of both
    names this product as the maker.
    """
    told = call.get("action")
    action: Json = told if isinstance(told, dict) else {}
    used_id = OWN_SEARCH + re.sub(r"[^a-zA-Z0-9_]", "_", str(call.get("id") or ""))
    query = str(action.get("query") or action.get("url") or "")
    sources = [
        source
        for source in action.get("sources") or ()
        if isinstance(source, dict) and source.get("url")
    ]
    results = [
        {
            "type": "web_search_result",
            "url": str(source["url"]),
            "title": str(source.get("title") or source["url"]),
            "encrypted_content": "",
            "page_age": None,
        }
        for source in sources
    ]
    used = {
        "type": "server_tool_use",
        "id": used_id,
        "name": ir.WEB_SEARCH,
        "input": {"query": query},
    }
    return used, {"type": "web_search_tool_result", "tool_use_id": used_id, "content": results}


def _whole(part: ir.ReplyPart) -> Sequence[Json]:
    if image_url_of(part):
        return [{"type": "text", "text": IMAGE_LOST}]
    if is_foreign_search(part):
        return search_blocks(part.data)
    block = _whole_block(part)
    return [] if block is None else [block]


def _whole_block(part: ir.ReplyPart) -> Json | None:
    block = _header(part)
    match part:
        case ir.Text(citations=[_, *_]):
            return {
                "type": "text",
                "text": part.text,
                "citations": [_citation(cited) for cited in part.citations],
            }
        case ir.Text() | ir.Refusal():
            return {"type": "text", "text": part.text}
        case ir.Thinking(redacted=False, vendor=vendor) if block:
            signature = (
                _signature(ir.Seal(part.signature, vendor, part.id))
                if vendor and part.signature
                else ""
            )
            return block | {"thinking": part.text, "signature": signature}
        case ir.ToolCall() if block:
            return block | {"input": call_input(part)}
    return block


def _signature(seal: ir.Seal) -> str:
    if seal.vendor == "anthropic":
        return seal.signature
    return wrap(ir.Thinking("", seal.signature, seal.vendor, seal.id))


def _citation(citation: ir.Citation) -> Json:
    if citation.vendor == "anthropic" and citation.data:
        return citation.data
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": "",
        "encrypted_index": "",
    }
