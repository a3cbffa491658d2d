"""A Responses stream as events. Items are told apart by id or `output_index`, sections of text by
kind and number.

Services differ in what they say twice: a text may come in deltas, whole at its end, whole with its
item, or only in the last event. Whatever was not told yet is told then. Unknown events are nothing,
unknown items `Opaque`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.formats import ir
from shared.formats.fields import inner_object, text_in
from shared.formats.fold import NOTHING, Sequencer
from shared.formats.ir import Json
from shared.formats.openai_errors import read_error
from shared.formats.responses.names import openai_name
from shared.formats.responses.usage import read_usage

Section: TypeAlias = tuple[str, int]

_CALL: Section = ("call", 0)
_REASONING = frozenset({"summary", "content"})
_CANCELLED = ir.Fail("The provider cancelled the response.", code="cancelled")


@dataclass(slots=True)
class _Item:
    """An output item in progress. `told` counts the characters passed on of every section's text,
    and `arguments` is the passed-on part of a call's arguments.

    `name` is the id of the event that began an unannounced item. `block` is the open block, and
    `header` the part that opened it; a thinking has many sections in one block. `number` is this
    reader's own: services have given two items the same `output_index`.
    """

    number: int
    data: Json
    name: str = ""
    block: Hashable = None
    header: ir.ReplyPart | None = None
    arguments: list[str] = field(default_factory=list)
    told: dict[Section, int] = field(default_factory=dict)
    cited: dict[Section, int] = field(default_factory=dict)
    done: bool = False


class Reader:
    """Feed every payload of the stream."""

    __slots__ = (
        "_called", "_handlers", "_items", "_named", "_names", "_numbered", "_refused", "_sequencer",
    )  # fmt: skip

    def __init__(self, prompt: ir.Prompt) -> None:
        self._names = {
            openai_name(tool.name): tool.name for tool in prompt.tools if isinstance(tool, ir.Tool)
        }
        self._items: dict[int, _Item] = {}
        self._named: dict[str, _Item] = {}
        self._numbered = 0
        self._sequencer = Sequencer()
        self._called = self._refused = False
        self._handlers: dict[object, Callable[[Json], Sequence[ir.Event]]] = {
            "response.output_text.delta": self._on_text,
            "response.output_text.done": lambda data: self._on_whole(
                "text", "content_index", data, "text"
            ),
            "response.output_text.annotation.added": self._on_annotation,
            "response.refusal.delta": lambda data: self._on_delta("refusal", "content_index", data),
            "response.reasoning_summary_text.delta": lambda data: self._on_delta(
                "summary", "summary_index", data
            ),
            "response.reasoning_text.delta": lambda data: self._on_delta(
                "content", "content_index", data
            ),
            "response.function_call_arguments.delta": self._on_arguments,
            "response.function_call_arguments.done": lambda data: self._on_whole(
                "call", "", data, "arguments"
            ),
            "response.custom_tool_call_input.delta": self._on_arguments,
            "response.custom_tool_call_input.done": lambda data: self._on_whole(
                "call", "", data, "input"
            ),
            "response.output_item.added": self._on_item,
            "response.output_item.done": self._on_item_done,
            "response.created": self._on_created,
            "response.completed": self._on_end,
            "response.done": self._on_end,
            "response.incomplete": self._on_end,
            "response.failed": self._on_end,
            "response.cancelled": self._on_end,
            "error": self._on_error,
        }

    def feed(self, data: Json) -> Sequence[ir.Event]:
        handler = self._handlers.get(data.get("type"))
        if handler is None:
            return NOTHING
        try:
            return handler(data)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return (
                ir.Fail(
                    f"The provider sent an incomplete {data['type']} event: {error!r}",
                    code="bad_stream",
                ),
            )

    def end(self) -> Sequence[ir.Event]:
        """Return no final event: a stream that stops without the last event has no end
        to report.
        """
        return NOTHING

    # --- what an item says ---

    def _on_text(self, data: Json) -> Sequence[ir.Event]:
        text = data["delta"]
        return self._tell(self._item(data), ("text", data.get("content_index", 0)), text)

    def _on_delta(self, kind: str, number: str, data: Json) -> Sequence[ir.Event]:
        return self._tell(self._item(data), (kind, data.get(number, 0)), data["delta"])

    def _on_arguments(self, data: Json) -> Sequence[ir.Event]:
        """Of a call that was not announced neither id nor name is known; the whole item
        will tell.
        """
        item = self._item(data)
        if not item.block:
            return NOTHING
        item.arguments.append(data["delta"])
        return self._tell(item, _CALL, data["delta"])

    def _on_whole(self, kind: str, number: str, data: Json, name: str) -> Sequence[ir.Event]:
        item = self._item(data)
        if kind != "call":
            return self._tell_rest(item, (kind, data.get(number, 0)), data[name])
        # A call that was not announced has no open block; its whole item follows, with id and name.
        return self._tell_arguments(item, data[name]) if item.block else NOTHING

    def _on_annotation(self, data: Json) -> Sequence[ir.Event]:
        item = self._item(data)
        section = ("text", data.get("content_index", 0))
        if item.done:
            return NOTHING
        # The citation may come before the first word of its text.
        begun = self._begin(item, section) if section not in item.told else NOTHING
        return [*begun, *self._cite(item, section, [data["annotation"]])]

    def _item(self, data: Json) -> _Item:
        """Return the item of an event. An unannounced item begins here."""
        index = data.get("output_index", 0)
        name = self._name_of(data)
        return self._known(index, name) or self._begin_item(index, {}, name)

    def _begin_item(self, index: int, data: Json, name: str = "") -> _Item:
        self._numbered += 1
        item = self._items[index] = _Item(self._numbered, data, name)
        return item

    def _known(self, index: int, name: str) -> _Item | None:
        """Return the item announced under the id `name`, else the latest item of `index` unless
        finished under another id.

        Ids are no more to be trusted than indexes: some services name an item differently in every
        event.
        """
        if name in self._named:
            return self._named[name]
        item = self._items.get(index)
        # A finished item keeps its index only for its own id: services give the same index to the
        # next item.
        is_over = (
            item is not None and item.done and name and item.data.get("id") not in (None, name)
        )
        return None if is_over else item

    def _name_of(self, data: Json) -> str:
        item = data.get("item")
        name = data.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
        return name if isinstance(name, str) else ""

    def _tell(self, item: _Item, section: Section, text: str) -> Sequence[ir.Event]:
        if not text or item.done:
            return NOTHING
        # The usual case first: a further delta of a section that has begun.
        told = item.told.get(section)
        if told is not None:
            item.told[section] = told + len(text)
            return self._sequencer.add(item.block, ir.Delta(text))
        begun = self._begin(item, section)
        item.told[section] = len(text)
        return [*begun, *self._sequencer.add(item.block, ir.Delta(text))]

    def _tell_rest(self, item: _Item, section: Section, text: str) -> Sequence[ir.Event]:
        return self._tell(item, section, text[item.told.get(section, 0) :])

    def _tell_arguments(self, item: _Item, text: str) -> Sequence[ir.Event]:
        """Pass on the rest of a call's arguments. Raises ValueError if `text` has a rest but does
        not begin with the passed-on part: an event is missing, and a program would act on the
        remaining pieces.
        """
        told = "".join(item.arguments)
        if len(text) > len(told) and not text.startswith(told):
            raise ValueError("the arguments are not those that came before")
        rest = text[len(told) :]
        item.arguments.append(rest)
        return self._tell(item, _CALL, rest)

    def _cite(
        self, item: _Item, section: Section, annotations: Iterable[Json]
    ) -> Sequence[ir.Event]:
        events: list[ir.Event] = []
        for annotation in annotations:
            item.cited[section] = item.cited.get(section, 0) + 1
            events += self._sequencer.add(item.block, ir.Cite(_read_citation(annotation)))
        return events

    def _begin(self, item: _Item, section: Section) -> Sequence[ir.Event]:
        """Open the section's block; sections of reasoning share a block, set apart by a
        blank line.
        """
        # Noted before this section is entered, because only text that came before it needs a blank
        # line.
        spoke = any(item.told.values())
        item.told[section] = 0
        if section[0] in _REASONING and item.block and isinstance(item.header, ir.Thinking):
            return self._sequencer.add(item.block, ir.Delta("\n\n")) if spoke else NOTHING
        return self._open(item, section, self._header(item, section[0]))

    def _open(self, item: _Item, key: Hashable, header: ir.ReplyPart) -> Sequence[ir.Event]:
        """Close the item's open block, and open a block with `header`. `key` is another one for
        every block of an item.
        """
        closed = self._close(item)
        item.block = (item.number, key)
        item.header = header
        return [*closed, *self._sequencer.open(item.block, ir.Open(header))]

    def _header(self, item: _Item, kind: str) -> ir.Text | ir.Refusal | ir.Thinking | ir.ToolCall:
        data = item.data
        if kind == "text":
            return ir.Text("", phase=data.get("phase"))
        if kind == "refusal":
            self._refused = True
            return ir.Refusal("", phase=data.get("phase"))
        if kind in _REASONING:
            return ir.Thinking(vendor="openai", id=data.get("id") or item.name)
        self._called = True
        name = str(data["name"])
        return ir.ToolCall(
            data["call_id"],
            self._names.get(name, name),
            kind="custom" if data["type"] == "custom_tool_call" else "function",
            namespace=data.get("namespace") or "",
        )

    def _close(self, item: _Item) -> Sequence[ir.Event]:
        if item.block is None:
            return NOTHING
        block = item.block
        item.block = None
        return self._sequencer.close(block)

    # --- items, whole ---

    def _on_item(self, data: Json) -> Sequence[ir.Event]:
        """Handle the announcement of an item. The item's text may have begun before the
        announcement.
        """
        index = data.get("output_index", 0)
        announced = data["item"]
        name = self._name_of(data)
        waiting = self._items.get(index)
        is_known = waiting is not None and waiting.done and waiting.data.get("id") == name
        if name in self._named or is_known:
            return NOTHING  # announced twice, or after its end
        # The item's text came before its announcement and began an item without data; the
        # announcement belongs to that one.
        if waiting is not None and not waiting.data:
            item = waiting
            item.data = announced
        else:
            item = self._begin_item(index, announced)
        if name:
            self._named[name] = item
        match item.data["type"]:
            case "function_call" | "custom_tool_call":
                return self._begin(item, _CALL)
            case "reasoning":
                return self._begin(item, ("summary", 0))
        return NOTHING

    def _on_item_done(self, data: Json) -> Sequence[ir.Event]:
        item = self._item(data)
        whole = data["item"]
        if item.done:
            # The same item told twice. Without an id and with other content it is another item at
            # the same index.
            if whole.get("id") is not None or item.data | whole == item.data:
                return NOTHING
            item = self._begin_item(data.get("output_index", 0), {})
        if item.data.get("type") not in (None, whole["type"]):
            raise ValueError("the item is not of the type that was announced")
        # The whole item completes the announced one: some services leave fields out of one of the
        # two.
        item.data = item.data | whole
        match whole["type"]:
            case "message":
                events = self._finish_message(item)
            case "reasoning":
                events = self._finish_reasoning(item)
            case "function_call" | "custom_tool_call":
                begun = NOTHING if item.block else self._begin(item, _CALL)
                text = item.data.get("arguments") or item.data.get("input") or ""
                events = [*begun, *self._tell_arguments(item, text)]
            case _:
                events = self._open(item, "opaque", ir.Opaque("openai", whole))
        item.done = True
        return [*events, *self._close(item)]

    def _finish_message(self, item: _Item) -> Sequence[ir.Event]:
        events: list[ir.Event] = []
        for number, part in enumerate(item.data.get("content") or ()):
            if part["type"] == "refusal":
                events += self._tell_rest(item, ("refusal", number), part["refusal"])
            elif part["type"] == "output_text":
                section = ("text", number)
                events += self._tell_rest(item, section, part["text"])
                events += self._cite(
                    item, section, (part.get("annotations") or [])[item.cited.get(section, 0) :]
                )
        return events

    def _finish_reasoning(self, item: _Item) -> Sequence[ir.Event]:
        events: list[ir.Event] = []
        for kind in ("summary", "content"):
            for number, part in enumerate(item.data.get(kind) or ()):
                events += self._tell_rest(item, (kind, number), part["text"])
        if sealed := item.data.get("encrypted_content"):
            # A block of its own takes the seal of reasoning without a word, which the next request
            # needs, and of reasoning that began under another id: a stream has told that id
            # already, and OpenAI accepts a seal beside its own id only.
            header = ir.Thinking(vendor="openai", id=item.data.get("id") or item.name)
            if item.header != header:
                events += self._open(item, "seal", header)
            events += self._sequencer.add(item.block, ir.Seal(sealed, "openai", header.id))
        return events

    # --- the response ---

    def _on_created(self, data: Json) -> Sequence[ir.Event]:
        response = inner_object(data, "response")
        return (ir.Start(text_in(response, "id"), text_in(response, "model")),)

    def _on_end(self, data: Json) -> Sequence[ir.Event]:
        response = inner_object(data, "response")
        status = text_in(response, "status") or data["type"].removeprefix("response.")
        if status == "failed":
            return (read_error({"error": response.get("error") or {"message": ""}}, 0),)
        if status == "cancelled":
            return (_CANCELLED,)
        events: list[ir.Event] = []
        for index, item in enumerate(response.get("output") or ()):
            # Some services tell an item only here. What was told before is not told again.
            known = self._known(index, self._name_of({"item": item}))
            if known is None or not known.done:
                events += self._on_item_done({"output_index": index, "item": item})
        reason = self._stop_reason(
            status, text_in(inner_object(response, "incomplete_details"), "reason")
        )
        usage = read_usage(response.get("usage"))
        tier = text_in(response, "service_tier") or None
        return [*events, *self._sequencer.drain(), ir.Stop(reason, usage, service_tier=tier)]

    def _stop_reason(self, status: str, why: str) -> ir.StopReason:
        """An unknown reason to break off is told as a reply cut short, never as a finished one."""
        if status == "incomplete":
            return ir.StopReason.REFUSAL if why == "content_filter" else ir.StopReason.MAX_TOKENS
        if self._refused:
            return ir.StopReason.REFUSAL
        return ir.StopReason.TOOL_USE if self._called else ir.StopReason.END_TURN

    def _on_error(self, data: Json) -> Sequence[ir.Event]:
        error = data.get("error") or {name: value for name, value in data.items() if name != "type"}
        return (read_error({"error": error}, data.get("status_code") or 0),)


def _read_citation(data: Json) -> ir.Citation:
    """Return a citation. An address without its place in the text is a citation of all
    of the text.
    """
    start = data.get("start_index")
    end = data.get("end_index")
    is_placed = isinstance(start, int) and isinstance(end, int)
    named = isinstance(data.get("type"), str)
    is_whole = named and (is_placed or data["type"] != "url_citation")
    title = data.get("title") or data.get("filename") or ""
    return ir.Citation(
        data.get("url") or "", title, start, end, "openai", data if is_whole else None
    )
