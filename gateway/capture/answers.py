"""The text of a captured reply, in any client's format, streamed or whole: the words of the model,
its thinking, its tool calls, or the error.

Invariant: a reply of another form has no parts, and raises no error.
"""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any

from shared.captures.capture import Part
from shared.formats.sse import Parser
from shared.runtime.errors import UpstreamError
from shared.runtime.exact_json import load_json
from shared.runtime.visible_text import visible

# The fields of an event that carry text, with the kind of the text.
DELTAS = {
    "text": "text",
    "thinking": "thinking",
    "partial_json": "tool call",
    "content": "text",
    "reasoning_content": "thinking",
    "refusal": "text",
}
RESPONSES_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "thinking",
    "response.reasoning_text.delta": "thinking",
    "response.function_call_arguments.delta": "tool call",
    "response.custom_tool_call_input.delta": "tool call",
}


class ReplyParts:
    """The parts of a reply, as kinds and texts; texts of the same kind in a row are joined."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, str]] = []

    def add(self, kind: str, text: Any, *, new: bool = False) -> None:
        """Add a text; `new` begins a part of its own."""
        if not isinstance(text, str) or not (text or new):
            return
        if self.parts and self.parts[-1][0] == kind and not new:
            text = self.parts.pop()[1] + text
        self.parts.append((kind, text))

    def shown(self) -> list[dict[str, str]]:
        """Return the parts for people; hidden characters are escaped."""
        return [{"kind": kind, "text": visible(text)} for kind, text in self.parts if text]


def reply_parts(part: Part | None) -> list[dict[str, str]]:
    """Return the parts of a captured reply."""
    answer = ReplyParts()
    if part is None or not part.body:
        return []
    body = part.body.encode()
    if any(name == "content-type" and "text/event-stream" in value for name, value in part.headers):
        parser = Parser()
        try:
            events = [*parser.feed(body), *parser.end()]
        except UpstreamError:
            return []
        for event in events:
            _add_event(answer, _object(event.data))
    else:
        _add_whole(answer, _object(body))
    return answer.shown()


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = load_json(data)
    except JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _add_event(answer: ReplyParts, event: dict[str, Any]) -> None:
    kind = event.get("type")
    if kind == "content_block_start":
        _add_tool(answer, event.get("content_block"))
    elif kind == "response.output_item.added":
        _add_tool(answer, event.get("item"))
    elif kind in RESPONSES_DELTAS:
        answer.add(RESPONSES_DELTAS[str(kind)], event.get("delta"))
    elif isinstance(delta := event.get("delta"), dict):
        _add_delta(answer, delta)
    for choice in _dicts(event.get("choices")):
        _add_delta(answer, choice.get("delta") or {})
    _add_error(answer, event)


def _add_delta(answer: ReplyParts, delta: Any) -> None:
    if not isinstance(delta, dict):
        return
    for name, kind in DELTAS.items():
        answer.add(kind, delta.get(name))
    for call in _dicts(delta.get("tool_calls")):
        _add_function(answer, call, new=bool(call.get("id")))


def _add_whole(answer: ReplyParts, reply: dict[str, Any]) -> None:
    for block in _dicts(reply.get("content")):
        _add_block(answer, block)
    for choice in _dicts(reply.get("choices")):
        message = choice.get("message")
        _add_delta(answer, message if isinstance(message, dict) else {})
    for item in _dicts(reply.get("output")):
        for block in (*_dicts(item.get("content")), *_dicts(item.get("summary"))):
            _add_block(answer, block)
        if "call" in str(item.get("type")):
            _add_tool(answer, item)
            answer.add("tool call", item.get("arguments") or item.get("input"))
    _add_error(answer, reply)


def _add_block(answer: ReplyParts, block: dict[str, Any]) -> None:
    kind = str(block.get("type"))
    if kind == "tool_use":
        _add_tool(answer, block)
        answer.add("tool call", str(block.get("input")))
    elif kind == "thinking":
        answer.add("thinking", block.get("thinking"))
    else:
        answer.add("thinking" if "summary" in kind else "text", block.get("text"))


def _add_tool(answer: ReplyParts, block: Any) -> None:
    """Begin a part for a tool call, with the tool's name."""
    if isinstance(block, dict) and isinstance(name := block.get("name"), str):
        answer.add("tool call", f"{name} ", new=True)


def _add_function(answer: ReplyParts, call: dict[str, Any], *, new: bool) -> None:
    function = call.get("function")
    if not isinstance(function, dict):
        return
    if new:
        _add_tool(answer, function)
    answer.add("tool call", function.get("arguments"))


def _add_error(answer: ReplyParts, document: dict[str, Any]) -> None:
    error = document.get("error")
    if isinstance(error, dict):
        answer.add("error", error.get("message"), new=True)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
