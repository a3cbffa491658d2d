"""Replies as Chat Completions. The whole reply is the stream's deltas put together, so the two
cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from shared.formats import ir
from shared.formats.fold import unfold
from shared.formats.generated_images import image_url_of
from shared.formats.ir import Json
from shared.formats.openai_errors import write_error
from shared.formats.written import KEEP_ALIVE, Frame

ReasoningStyle: TypeAlias = Literal["field", "tags", "off"]
"""Where reasoning goes: `reasoning_content` (not OpenAI's, but what clients know), <thinking> in
the text, nowhere."""

FINISH_REASONS = {
    ir.StopReason.END_TURN: "stop",
    ir.StopReason.STOP_SEQUENCE: "stop",
    ir.StopReason.PAUSE_TURN: "stop",
    ir.StopReason.TOOL_USE: "tool_calls",
    ir.StopReason.MAX_TOKENS: "length",
    ir.StopReason.CONTEXT_WINDOW: "length",
    ir.StopReason.REFUSAL: "content_filter",
}
SERVICE_TIERS = {"standard": "default"} | {
    tier: tier for tier in ("default", "flex", "scale", "priority", "fast")
}
NOTHING: tuple[Frame, ...] = ()
DONE = Frame(None, "[DONE]")


class Writer:
    """A reply as the frames of a Chat stream. Annotations wait for the end: the official SDK cannot
    append to annotations.
    """

    def __init__(
        self,
        prompt: ir.Prompt,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
        reasoning: ReasoningStyle = "field",
    ) -> None:
        chunk = "chat.completion.chunk"
        self._head: Json = {
            "id": f"chatcmpl-{id}",
            "object": chunk,
            "created": created,
            "model": model,
        }
        self._include_usage = prompt.include_usage
        self._style = reasoning
        self._write: Callable[[str], Sequence[Frame]] = self._drop
        self._block: Any = None
        self._before = ""  # goes in front of the open block's first delta, and so is empty after it
        self._length = 0  # of the joined text, in characters
        self._block_start = 0  # where in the joined text the open block begins
        self._cited: list[ir.Citation] = []
        self._annotations: list[Json] = []
        self._calls = 0
        self._images = 0
        self._call_is_empty = False
        self._thought = self._refused = False

    def feed(self, event: ir.Event) -> Sequence[Frame]:
        if type(event) is ir.Delta:
            return self._write(event.text)
        match event:
            case ir.Open(part):
                return self._open(part)
            case ir.Close():
                return self._close()
            case ir.Cite(citation):
                self._cited.append(citation)
            case ir.Start():
                return self._start(event)
            case ir.Stop():
                return self._stop(event)
            case ir.Fail():
                return (Frame(None, write_error(event)),)
            case ir.Ping():
                return (KEEP_ALIVE,)
        return NOTHING

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> tuple[Frame]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return (Frame(None, {**self._head, "choices": [choice]}),)

    def _start(self, start: ir.Start) -> Sequence[Frame]:
        if start.id:
            self._head["id"] = f"chatcmpl-{start.id}"
        if start.model:
            self._head["model"] = start.model
        return self._chunk({"role": "assistant", "content": ""})

    def _stop(self, stop: ir.Stop) -> Sequence[Frame]:
        frames: list[Frame] = []
        if self._annotations:
            frames += self._chunk({"annotations": self._annotations})
        if stop.explanation and not self._refused:
            frames += self._chunk({"refusal": stop.explanation})
        if tier := SERVICE_TIERS.get(stop.service_tier or ""):
            self._head["service_tier"] = tier
        frames += self._chunk({}, FINISH_REASONS[stop.reason])
        if self._include_usage:
            frames.append(
                Frame(None, {**self._head, "choices": [], "usage": write_usage(stop.usage)})
            )
        return [*frames, DONE]

    def _open(self, part: Any) -> Sequence[Frame]:
        self._block = part
        self._block_start = self._length
        self._before = ""
        match part:
            case ir.Text():
                self._write = self._write_text
            case ir.Refusal():
                self._write = self._write_refusal
            case ir.Thinking() if self._style != "off":
                self._write = self._write_thinking
                self._before = (
                    "<thinking>" if self._style == "tags" else "\n\n" if self._thought else ""
                )
            case ir.ToolCall():
                return self._open_call(part)
            case ir.Opaque():
                self._write = self._drop
                return self._show_image(image_url_of(part))
            case _:
                self._write = self._drop
        return NOTHING

    def _show_image(self, url: str) -> Sequence[Frame]:
        """Return the chunk for an image made by the model, in the place known to clients; no frame
        for no image.
        """
        if not url:
            return NOTHING
        self._images += 1
        return self._chunk(
            {
                "images": [
                    {"type": "image_url", "index": self._images - 1, "image_url": {"url": url}}
                ]
            }
        )

    def _open_call(self, call: ir.ToolCall) -> Sequence[Frame]:
        self._write = self._write_arguments
        self._call_is_empty = True
        self._calls += 1
        field = "input" if call.kind == "custom" else "arguments"
        header = {"id": call.id, "type": call.kind, call.kind: {"name": call.name, field: ""}}
        return self._chunk({"tool_calls": [{"index": self._calls - 1, **header}]})

    def _close(self) -> Sequence[Frame]:
        match self._block:
            case ir.Text() if self._cited:
                self._annotate()
            case ir.ToolCall(kind="function") if self._call_is_empty:
                return self._write_arguments("{}")
            case ir.Thinking() if self._style == "tags" and not self._before:
                return self._write_text("</thinking>\n")
        return NOTHING

    def _drop(self, text: str) -> Sequence[Frame]:
        return NOTHING

    def _write_text(self, text: str) -> Sequence[Frame]:
        self._length += len(text)
        return self._chunk({"content": text})

    def _write_refusal(self, text: str) -> Sequence[Frame]:
        self._refused = True
        return self._chunk({"refusal": text})

    def _write_thinking(self, text: str) -> Sequence[Frame]:
        text = self._before + text
        self._before = ""
        self._thought = True
        return (
            self._write_text(text)
            if self._style == "tags"
            else self._chunk({"reasoning_content": text})
        )

    def _write_arguments(self, text: str) -> Sequence[Frame]:
        self._call_is_empty = False
        more = (
            {"custom": {"input": text}}
            if self._block.kind == "custom"
            else {"function": {"arguments": text}}
        )
        return self._chunk({"tool_calls": [{"index": self._calls - 1, **more}]})

    def _annotate(self) -> None:
        """Add the web citations of the closing block, at the block's place in the joined text."""
        for cited in self._cited:
            start = self._block_start + (cited.start or 0)
            end = self._length if cited.end is None else self._block_start + cited.end
            place = {"url": cited.url, "title": cited.title, "start_index": start, "end_index": end}
            if cited.url:
                self._annotations.append({"type": "url_citation", "url_citation": place})
        self._cited.clear()


def write_usage(usage: ir.Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def write_reply(
    prompt: ir.Prompt,
    reply: ir.Reply,
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    reasoning: ReasoningStyle = "field",
) -> Json:
    writer = Writer(prompt, id=id, created=created, model=model, reasoning=reasoning)
    chunks = [
        frame.data
        for event in unfold(reply)
        for frame in writer.feed(event)
        if isinstance(frame.data, dict)
    ]
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    finish_reason = None
    for chunk in chunks:
        for choice in chunk["choices"]:
            _add_delta(message, choice["delta"])
            finish_reason = choice["finish_reason"]
    message["content"] = message["content"] or None
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    usage = write_usage(reply.stop.usage)
    return {**chunks[-1], "object": "chat.completion", "choices": [choice], "usage": usage}


def _add_delta(message: Json, delta: Json) -> None:
    """Add a delta to the message as clients do: text to text, a call's fragments to the call of
    that index.
    """
    for field, value in delta.items():
        if field == "tool_calls":
            calls = message.setdefault(field, [])
            for fragment in value:
                if fragment.pop("index") == len(calls):
                    calls.append(fragment)
                else:
                    _add_delta(calls[-1], fragment)
        elif isinstance(value, str) and field != "role":
            message[field] = (message.get(field) or "") + value
        elif isinstance(value, list):
            message[field] = [*message.get(field, ()), *value]
        elif isinstance(value, dict) and field in message:
            _add_delta(message[field], value)
        else:
            message[field] = value
