"""A Messages stream as events: several open blocks are told apart by `index`, unknown events are
nothing.

A block only Anthropic understands becomes an `Opaque` when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.formats import ir
from shared.formats.fields import inner_object, text_in
from shared.formats.fold import NOTHING, Sequencer
from shared.formats.ir import Json
from shared.formats.json_text import load_text
from shared.formats.messages.blocks import CUSTOM_INPUT, tools_by_wire_name
from shared.formats.messages.errors import read_error
from shared.formats.messages.request_in import (
    read_citation,
    read_redacted,
    read_thinking,
    write_arguments,
)
from shared.formats.messages.usage import merge_usage, read_tier, read_usage
from shared.formats.property_keys import KeyRestorer
from shared.formats.schemas import for_anthropic

STOP_REASONS = {
    "end_turn": ir.StopReason.END_TURN,
    "max_tokens": ir.StopReason.MAX_TOKENS,
    "stop_sequence": ir.StopReason.STOP_SEQUENCE,
    "tool_use": ir.StopReason.TOOL_USE,
    "pause_turn": ir.StopReason.PAUSE_TURN,
    "refusal": ir.StopReason.REFUSAL,
    "model_context_window_exceeded": ir.StopReason.CONTEXT_WINDOW,
}
_TEXT_FIELDS = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
}


@dataclass(slots=True)
class _Block:
    """An open block. `held` collects content only readable when whole: custom input, a foreign
    block. `keys` restores the client's names of arguments with changed names.
    """

    data: Json
    kind: str
    held: list[str] | None = None
    spoke: bool = False
    keys: KeyRestorer | None = None
    signature: list[str] = field(default_factory=list)


class Reader:
    """Feed every payload of the stream."""

    __slots__ = ("_blocks", "_handlers", "_sequencer", "_stop", "_tools", "_usage")

    def __init__(self, prompt: ir.Prompt) -> None:
        self._tools = tools_by_wire_name(prompt)
        self._blocks: dict[int, _Block] = {}
        self._sequencer = Sequencer()
        self._usage: Json = {}
        self._stop: Json = {}
        self._handlers: dict[object, Callable[[Json], Sequence[ir.Event]]] = {
            "content_block_delta": self._on_delta,
            "content_block_start": self._on_open,
            "content_block_stop": self._on_close,
            "message_start": self._on_start,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_stop,
            "ping": lambda _: (ir.Ping(),),
            "error": lambda data: (read_error(data, 0),),
        }

    def feed(self, data: Json) -> Sequence[ir.Event]:
        handler = self._handlers.get(data.get("type"))
        return handler(data) if handler else NOTHING

    def end(self) -> Sequence[ir.Event]:
        """Return no final event: a stream that stops without `message_stop` has no end
        to report.
        """
        return NOTHING

    def _on_delta(self, data: Json) -> Sequence[ir.Event]:
        index = data["index"]
        delta = data["delta"]
        kind = delta["type"]
        block = self._blocks[index]
        name = _TEXT_FIELDS.get(kind)
        if name is not None:
            text = delta[name]
            if not text:
                return NOTHING
            block.spoke = True
            # A held block is shown whole at its end: its text must be read as JSON before the
            # client can use any of it.
            if block.held is not None:
                block.held.append(text)
                return NOTHING
            if block.keys is not None:
                text = block.keys.feed(text)
            return self._sequencer.add(index, ir.Delta(text)) if text else NOTHING
        if kind == "signature_delta":
            block.signature.append(delta["signature"])
        elif kind == "citations_delta" and block.kind == "text":
            return self._sequencer.add(index, ir.Cite(read_citation(delta["citation"])))
        return NOTHING

    def _on_start(self, data: Json) -> Sequence[ir.Event]:
        message = inner_object(data, "message")
        self._count(message.get("usage"))
        return (
            ir.Start(text_in(message, "id"), text_in(message, "model"), read_usage(self._usage)),
        )

    def _on_open(self, data: Json) -> Sequence[ir.Event]:
        index = data["index"]
        start = data["content_block"]
        block = self._blocks[index] = _Block(start, start["type"])
        match block.kind:
            case "text":
                return self._open(index, ir.Open(ir.Text("")), start.get("text"))
            case "thinking":
                block.signature.append(start.get("signature") or "")
                return self._open(
                    index, ir.Open(ir.Thinking(vendor="anthropic")), start.get("thinking")
                )
            case "redacted_thinking":
                return self._open(index, ir.Open(read_redacted(start["data"])))
            case "tool_use":
                return self._open(index, ir.Open(self._tool_call(block)))
        block.held = []
        return NOTHING

    def _tool_call(self, block: _Block) -> ir.ToolCall:
        call_id = block.data["id"]
        name = block.data["name"]
        tool = self._tools.get(name)
        if tool is None:
            return ir.ToolCall(call_id, name)
        if tool.kind == "custom":
            block.held = []
        elif renamed := for_anthropic(tool.schema).renamed:
            block.keys = KeyRestorer(renamed)
        return ir.ToolCall(call_id, tool.name, "", tool.kind, tool.namespace)

    def _open(self, index: int, event: ir.Open, text: str | None = None) -> Sequence[ir.Event]:
        opened = self._sequencer.open(index, event)
        return [*opened, *self._sequencer.add(index, ir.Delta(text))] if text else opened

    def _on_close(self, data: Json) -> Sequence[ir.Event]:
        index = data["index"]
        block = self._blocks.pop(index)
        last: list[ir.Event] = []
        if block.kind == "tool_use":
            if text := self._late_arguments(block):
                last.append(ir.Delta(text))
        # A block of a kind without a place in `ir` opens only now, when it is whole.
        elif block.held is not None:
            return [
                *self._sequencer.open(index, ir.Open(_whole(block))),
                *self._sequencer.close(index),
            ]
        elif signature := "".join(block.signature):
            sealed = read_thinking("", signature)
            last.append(ir.Seal(sealed.signature, sealed.vendor or "anthropic", sealed.id))
        events = [told for event in last for told in self._sequencer.add(index, event)]
        return [*events, *self._sequencer.close(index)]

    def _late_arguments(self, block: _Block) -> str:
        """Return the arguments missing from all deltas of the call: a custom tool's unwrapped text,
        or input of the block's start, or the rest of a broken-off key.
        """
        if block.held is None:
            # The service may give the whole input in the block's start, and then no delta follows.
            text = "" if block.spoke else write_arguments(block.data.get("input"))
            return text if block.keys is None else block.keys.feed(text) + block.keys.end()
        written = "".join(block.held)
        arguments = load_text(written) if written else block.data.get("input") or {}
        if isinstance(arguments, dict) and isinstance(arguments.get(CUSTOM_INPUT), str):
            return str(arguments[CUSTOM_INPUT])
        return written

    def _on_message_delta(self, data: Json) -> Sequence[ir.Event]:
        self._stop |= {
            name: value for name, value in inner_object(data, "delta").items() if value is not None
        }
        self._count(data.get("usage"))
        return NOTHING

    def _on_stop(self, data: Json) -> Sequence[ir.Event]:
        del data
        details = inner_object(self._stop, "stop_details")
        stop = ir.Stop(
            STOP_REASONS.get(text_in(self._stop, "stop_reason"), ir.StopReason.END_TURN),
            read_usage(self._usage),
            text_in(self._stop, "stop_sequence") or None,
            text_in(details, "explanation") or None,
            text_in(details, "category") or None,
            read_tier(self._usage) or None,
        )
        return [*self._sequencer.drain(), stop]

    def _count(self, usage: Json | None) -> None:
        """Store the counts of `usage`. Later counts are cumulative and replace earlier counts; null
        replaces no count.
        """
        self._usage = merge_usage(self._usage, usage)


def _whole(block: _Block) -> ir.Opaque:
    written = "".join(block.held or ())
    return ir.Opaque(
        "anthropic", block.data | {"input": load_text(written)} if written else block.data
    )
