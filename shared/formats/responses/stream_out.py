"""Events as a Responses stream, and a whole reply as the response that stream ends with.

Text and refusals in a row are the parts of one message item; every other block is an item of its
own. An item is done when it is known how it ended: at the next one, or with the reply; an item a
failure broke off is never done, so that no client runs half a tool call. No two items have one id.
Reasoning another vendor sealed travels wrapped, as `encrypted_content`; so does reasoning that
OpenAI sealed under another id than its item's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from shared.formats import ir
from shared.formats.fold import unfold
from shared.formats.ir import Json
from shared.formats.openai_errors import error_code
from shared.formats.responses.items_out import (
    begin_response,
    refusal_part,
    response_usage,
    sealed_reasoning,
    summary_part,
    text_part,
    write_annotation,
)
from shared.formats.responses.local_shell import shell_action
from shared.formats.written import KEEP_ALIVE, Frame

_INCOMPLETE = {
    ir.StopReason.MAX_TOKENS: "max_output_tokens",
    ir.StopReason.CONTEXT_WINDOW: "max_output_tokens",
    ir.StopReason.REFUSAL: "content_filter",
}
_NO_FRAMES: tuple[Frame, ...] = ()


class Writer:
    """The writer of a Responses stream. Feed well-formed events. A block without a meaning in this
    format leaves no trace, not even a number.
    """

    __slots__ = (
        "_block", "_cites", "_clock", "_delta", "_handlers", "_item", "_output", "_place",
        "_refused", "_response", "_seal", "_sequence", "_texts", "_token",
    )  # fmt: skip

    def __init__(
        self,
        prompt: ir.Prompt,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
        echo: Json | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin a response to `prompt`. `echo` holds the response's fields about storage; without
        it the response is not stored.
        """
        self._token = id
        self._clock = clock
        self._response = begin_response(prompt, f"resp_{id}", created, model) | (echo or {})
        self._output: list[Json] = []
        self._sequence = 0
        self._item: Json | None = None
        self._block: ir.Text | ir.Thinking | ir.ToolCall | ir.Refusal | None = None
        self._delta: Json | None = None
        self._place: Json = {}
        self._texts: list[str] = []
        self._cites: list[ir.Citation] = []
        self._seal: ir.Seal | None = None
        self._refused = False
        self._handlers: dict[type, Callable[[Any], Sequence[Frame]]] = {
            ir.Delta: self._on_delta,
            ir.Start: self._on_start,
            ir.Open: self._on_open,
            ir.Cite: self._on_cite,
            ir.Seal: self._on_seal,
            ir.Close: self._on_close,
            ir.Ping: lambda _: (KEEP_ALIVE,),
            ir.Stop: self._on_stop,
            ir.Fail: self._on_fail,
        }

    def feed(self, event: ir.Event) -> Sequence[Frame]:
        return self._handlers[type(event)](event)

    def _frame(self, event: str, **fields: Any) -> Frame:
        name = f"response.{event}"
        self._sequence += 1
        return Frame(name, {"type": name, "sequence_number": self._sequence - 1, **fields})

    def _snapshot(self, event: str, **news: Any) -> Frame:
        self._response |= news
        return self._frame(event, response=self._response | {"output": self._output.copy()})

    def _on_start(self, start: ir.Start) -> Sequence[Frame]:
        self._response["model"] = start.model or self._response["model"]
        return (self._snapshot("created"), self._snapshot("in_progress"))

    # --- blocks ---

    def _on_open(self, opened: ir.Open) -> Sequence[Frame]:
        part = opened.part
        self._block = None
        self._delta = None
        self._texts = []
        self._cites = []
        self._seal = None
        match part:
            case ir.Text(phase=phase):
                return [
                    *self._message(phase),
                    *self._content_part(part, "output_text", text_part("", [])),
                ]
            case ir.Refusal(phase=phase):
                self._refused = True
                return [
                    *self._message(phase),
                    *self._content_part(part, "refusal", refusal_part("")),
                ]
            case ir.Thinking():
                self._block = part
                return self._begin(
                    {"type": "reasoning", "id": self._free_id(part.id, "rs"), "summary": []}
                )
            case ir.ToolCall():
                return self._call(part)
            case ir.Opaque(vendor="openai", data=data):
                return self._begin({**data, "id": self._free_id(data.get("id", ""), "item")})
            case ir.Opaque(data={"type": "server_tool_use", "name": "web_search", **call}):
                return self._web_search(call)
            case ir.Opaque(data={"type": "web_search_tool_result", "content": [*found]}):
                self._note_sources(found)
        return _NO_FRAMES

    def _next_id(self, prefix: str) -> str:
        return f"{prefix}_{self._token}_{len(self._output) + (self._item is not None)}"

    def _free_id(self, told: str, prefix: str) -> str:
        """Return `told`, an item's id at the provider, or a new id if `told` is empty or an earlier
        item has it.
        """
        earlier = [*self._output, self._item] if self._item else self._output
        is_taken = any(item["id"] == told for item in earlier)
        return self._next_id(prefix) if is_taken or not told else told

    def _begin(self, item: Json) -> list[Frame]:
        frames = self._end_item()
        self._item = item
        self._place = {"item_id": item["id"], "output_index": len(self._output)}
        return [
            *frames,
            self._frame("output_item.added", output_index=len(self._output), item=item),
        ]

    def _end_item(self, status: str = "completed") -> list[Frame]:
        if self._item is None:
            return []
        item = self._item
        self._item = None
        if "status" in item:
            item = item | {"status": status}
        self._output.append(item)
        return [self._frame("output_item.done", output_index=len(self._output) - 1, item=item)]

    def _message(self, phase: str | None) -> list[Frame]:
        """Return the frames for the opening of a message item for a part; no frames if a message
        item is open already.
        """
        # Texts in a row are parts of one message; another phase begins another message.
        if self._item and self._item["type"] == "message" and self._item.get("phase") == phase:
            return []
        item = {
            "type": "message",
            "id": self._next_id("msg"),
            "role": "assistant",
            "status": "in_progress",
        }
        return self._begin(item | {"content": []} | ({"phase": phase} if phase else {}))

    def _content_part(self, block: ir.Text | ir.Refusal, kind: str, part: Json) -> list[Frame]:
        assert self._item is not None
        self._place["content_index"] = len(self._item["content"])
        added = self._frame("content_part.added", **self._place, part=part)
        self._speak(block, f"{kind}.delta")
        return [added]

    def _speak(self, block: ir.Text | ir.Thinking | ir.ToolCall | ir.Refusal, event: str) -> None:
        """Make `event` the name of the next deltas, which differ only in number and text."""
        self._block = block
        self._delta = {
            "type": f"response.{event}",
            "sequence_number": 0,
            **self._place,
            "delta": "",
        }
        if isinstance(block, ir.Text):
            self._delta["logprobs"] = []

    def _call(self, call: ir.ToolCall) -> list[Frame]:
        if call.kind == "local_shell":
            self._block = call
            item = {"type": "local_shell_call", "id": self._next_id("lsh"), "call_id": call.id}
            return self._begin(item | {"status": "in_progress", "action": shell_action("{}")})
        kind, prefix, field = _CALLS[call.kind]
        item = {
            "type": kind,
            "id": self._next_id(prefix),
            "call_id": call.id,
            "name": call.name,
            field: "",
        }
        frames = self._begin(
            item
            | {"status": "in_progress"}
            | ({"namespace": call.namespace} if call.namespace else {})
        )
        self._speak(call, f"{kind}_{field}.delta")
        return frames

    def _web_search(self, call: Json) -> list[Frame]:
        action = {"type": "search", "query": str((call.get("input") or {}).get("query") or "")}
        item_id = self._next_id("ws")
        frames = self._begin(
            {"type": "web_search_call", "id": item_id, "status": "in_progress", "action": action}
        )
        return [
            *frames,
            *(self._frame(f"web_search_call.{step}", **self._place) for step in _SEARCH_STEPS),
        ]

    def _note_sources(self, found: list[Any]) -> None:
        """Add the pages found by the current search; the end of the item reports the pages."""
        if self._item is None or self._item["type"] != "web_search_call":
            return
        urls = [
            page["url"]
            for page in found
            if isinstance(page, dict) and isinstance(page.get("url"), str)
        ]
        sources = [{"type": "url", "url": url} for url in urls]
        self._item = self._item | {"action": self._item["action"] | {"sources": sources}}

    def _on_delta(self, delta: ir.Delta) -> Sequence[Frame]:
        text = delta.text
        template = self._delta
        self._texts.append(text)
        if template is None:
            return (
                self._first_of_summary(text) if isinstance(self._block, ir.Thinking) else _NO_FRAMES
            )
        # Deltas are nearly all of a stream, so each is a copy of a prepared event with two fields
        # changed.
        data = template.copy()
        data["sequence_number"] = self._sequence
        data["delta"] = text
        self._sequence += 1
        return (Frame(data["type"], data),)

    def _first_of_summary(self, text: str) -> Sequence[Frame]:
        """Only now: reasoning without a word has no summary part."""
        assert self._block is not None
        self._place["summary_index"] = 0
        added = self._frame("reasoning_summary_part.added", **self._place, part=summary_part(""))
        self._speak(self._block, "reasoning_summary_text.delta")
        return (added, self._frame("reasoning_summary_text.delta", **self._place, delta=text))

    def _on_cite(self, cite: ir.Cite) -> Sequence[Frame]:
        """Keep a citation until the text is whole, because a citation may span all of the text.
        Return no frames.
        """
        self._cites.append(cite.citation)
        return _NO_FRAMES

    def _on_seal(self, seal: ir.Seal) -> Sequence[Frame]:
        self._seal = seal
        return _NO_FRAMES

    def _on_close(self, close: ir.Close) -> Sequence[Frame]:
        del close
        block = self._block
        text = "".join(self._texts)
        self._block = None
        match block:
            case ir.Text():
                return self._close_text(text)
            case ir.Refusal():
                done = self._frame("refusal.done", **self._place, refusal=text)
                return (done, self._end_part(refusal_part(text)))
            case ir.Thinking():
                return self._close_thinking(block, text)
            case ir.ToolCall():
                return self._close_call(block, text)
        return _NO_FRAMES

    def _close_text(self, text: str) -> list[Frame]:
        annotations = [found for cited in self._cites if (found := write_annotation(cited, text))]
        frames = [
            self._frame(
                "output_text.annotation.added",
                **self._place,
                annotation_index=number,
                annotation=annotation,
            )
            for number, annotation in enumerate(annotations)
        ]
        done = self._frame("output_text.done", **self._place, text=text, logprobs=[])
        return [*frames, done, self._end_part(text_part(text, annotations))]

    def _end_part(self, part: Json) -> Frame:
        assert self._item is not None
        self._item = self._item | {"content": [*self._item["content"], part]}
        return self._frame("content_part.done", **self._place, part=part)

    def _close_thinking(self, block: ir.Thinking, text: str) -> list[Frame]:
        assert self._item is not None
        frames: list[Frame] = []
        if text:
            part = summary_part(text)
            self._item = self._item | {"summary": [part]}
            frames.append(self._frame("reasoning_summary_text.done", **self._place, text=text))
            frames.append(self._frame("reasoning_summary_part.done", **self._place, part=part))
        if sealed := sealed_reasoning(block, text, self._seal, self._item["id"]):
            self._item = self._item | {"encrypted_content": sealed}
        return frames

    def _close_call(self, call: ir.ToolCall, text: str) -> list[Frame]:
        assert self._item is not None
        if call.kind == "local_shell":
            self._item = self._item | {"action": shell_action(text or "{}")}
            return []
        kind, _, field = _CALLS[call.kind]
        frames: list[Frame] = []
        # Clients read the arguments as JSON, and no text is not JSON.
        if call.kind == "function" and not text:
            text = "{}"
            frames.append(self._frame(f"{kind}_{field}.delta", **self._place, delta=text))
        self._item = self._item | {field: text}
        name = {"name": call.name} if call.kind == "function" else {}
        return [
            *frames,
            self._frame(f"{kind}_{field}.done", **self._place, **name, **{field: text}),
        ]

    # --- the end ---

    def _on_stop(self, stop: ir.Stop) -> Sequence[Frame]:
        frames: list[Frame] = []
        if stop.reason is ir.StopReason.REFUSAL and stop.explanation and not self._refused:
            # The explanation of a refusal has no field in this format: it is said as a refusal,
            # unless the model has said one itself.
            for event in (ir.Open(ir.Refusal("")), ir.Delta(stop.explanation), ir.Close()):
                frames += self.feed(event)
        why = _INCOMPLETE.get(stop.reason)
        status = "incomplete" if why else "completed"
        news: Json = {"status": status, "usage": response_usage(stop.usage)}
        if why:
            news["incomplete_details"] = {"reason": why}
        else:
            news["completed_at"] = int(self._clock())
        if stop.service_tier:
            news["service_tier"] = stop.service_tier
        # The last item is closed with the status of the response: a response that was cut has an
        # incomplete item.
        return [*frames, *self._end_item(status), self._snapshot(status, **news)]

    def _on_fail(self, fail: ir.Fail) -> Sequence[Frame]:
        error = {"code": error_code(fail) or "invalid_prompt", "message": fail.message}
        return (self._snapshot("failed", status="failed", error=error),)


def write_reply(
    prompt: ir.Prompt,
    reply: ir.Reply,
    *,
    id: str,  # noqa: A002
    created: int,
    model: str,
    echo: Json | None = None,
    clock: Callable[[], float] = time.time,
) -> Json:
    writer = Writer(prompt, id=id, created=created, model=model, echo=echo, clock=clock)
    frames = [frame for event in unfold(reply) for frame in writer.feed(event)]
    data = frames[-1].data
    assert isinstance(data, dict)
    response: Json = data["response"]
    return response


_CALLS = {
    "function": ("function_call", "fc", "arguments"),
    "custom": ("custom_tool_call", "ctc", "input"),
}
_SEARCH_STEPS = ("in_progress", "searching", "completed")
