"""Between events and whole replies, and the one place where a reader's output is put right.

`fold(unfold(reply)) == reply`, and whatever is fed to `WellFormed`, what leaves it keeps the
grammar of `ir`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from shared.formats import ir
from shared.formats.ir import Json

NOTHING: tuple[ir.Event, ...] = ()
CUT = ir.Fail(
    "The provider's answer broke off before it was complete.", status=502, code="stream_cut"
)
MALFORMED = ir.Fail(
    "The provider sent an event that is not what its format promises.",
    status=502,
    code="bad_stream",
)


class Sequencer:
    """Puts blocks that overlap upstream into sequence: the first block flows, the later blocks
    wait.

    Blocks are distinguished by any key of the format (an index, an item id).
    """

    __slots__ = ("_current", "_waiting")

    def __init__(self) -> None:
        self._current: Hashable = None
        self._waiting: dict[Hashable, list[ir.Event]] = {}

    def open(self, key: Hashable, event: ir.Open) -> Sequence[ir.Event]:
        if self._current is None:
            self._current = key
            return (event,)
        self._waiting[key] = [event]
        return NOTHING

    def add(self, key: Hashable, event: ir.Event) -> Sequence[ir.Event]:
        """Return the events to pass on after `event` of the block `key`. An event of a block that
        was never opened is dropped.
        """
        if key == self._current:
            return (event,)
        if key in self._waiting:
            self._waiting[key].append(event)
        return NOTHING

    def close(self, key: Hashable) -> Sequence[ir.Event]:
        if key != self._current:
            return self.add(key, ir.Close())
        released: list[ir.Event] = [ir.Close()]
        self._current = None
        # The next block flows from here on. If it was closed while it waited, the one after it
        # takes its turn.
        while self._waiting and self._current is None:
            self._current = next(iter(self._waiting))
            released += self._waiting.pop(self._current)
            if type(released[-1]) is ir.Close:
                self._current = None
        return released

    def drain(self) -> Sequence[ir.Event]:
        """Close every open block: the provider has ended the reply."""
        released: list[ir.Event] = []
        while self._current is not None:
            released += self.close(self._current)
        return released


class EventReader(Protocol):
    """Turns the payloads of a provider's stream into events. `end` handles a stream that stops
    without an end.

    Blocks must not overlap (`Sequencer` helps); `WellFormed` ensures the rest of the grammar.
    """

    def feed(self, data: Json) -> Sequence[ir.Event]: ...
    def end(self) -> Sequence[ir.Event]: ...


class WellFormed:
    """A reader whose output keeps the grammar: a single start, closed blocks, a single terminal
    event at the end.

    Readers trust the shape of payloads; a payload that lacks a field of its type, or has one of
    another type, becomes a Fail here.
    """

    __slots__ = ("_done", "_open", "_reader", "_started")

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self._started = self._done = False
        self._open: type | None = None

    def feed(self, data: Json) -> Sequence[ir.Event]:
        try:
            events = self._reader.feed(data)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            return self.repair(replace(MALFORMED, message=f"{MALFORMED.message} ({error!r})"))
        # The usual case, one delta in an open block, skips the checks below: most of a stream's
        # events are deltas.
        if len(events) == 1 and type(events[0]) is ir.Delta and type(events[0].text) is str:
            return (
                events if self._open in _TAKES_DELTA and not self._done else self.repair(events[0])
            )
        return self._repair_all(
            event if has_expected_types(event) else MALFORMED for event in events
        )

    def end(self) -> Sequence[ir.Event]:
        """Return the last events after the end of the provider's stream: a failure if the terminal
        event is missing.
        """
        events = self._repair_all(self._reader.end())
        return events if self._done else [*events, *self.repair(CUT)]

    def _repair_all(self, events: Iterable[ir.Event]) -> Sequence[ir.Event]:
        return [repaired for event in events for repaired in self.repair(event)]

    def repair(self, event: ir.Event) -> Sequence[ir.Event]:
        """Return the events that replace `event` to keep the grammar."""
        # The states: not started, between blocks (`_open` is None), inside a block (`_open` is its
        # kind), done. Each branch adds what is missing before the event, or drops an event that has
        # no place in the present state.
        kind = type(event)
        if self._done:
            return NOTHING
        if kind is ir.Start:
            first = not self._started
            self._started = True
            return (event,) if first else NOTHING
        before: list[ir.Event] = []
        if not self._started:
            self._started = True
            before.append(ir.Start())
        if isinstance(event, ir.Ping):
            return [*before, event]
        # All three need the open block closed; Stop and Fail end the reply, and whatever comes
        # later is dropped.
        if isinstance(event, (ir.Open, ir.Stop, ir.Fail)):
            if self._open is not None:
                before.append(ir.Close())
            self._open = type(event.part) if isinstance(event, ir.Open) else None
            self._done = not isinstance(event, ir.Open)
        elif isinstance(event, ir.Delta):
            if not event.text:
                return before
            # Text outside of any block, or in a block that takes none, is still the model's words:
            # it gets a text block of its own.
            if self._open not in _TAKES_DELTA:
                before += (
                    [ir.Close(), ir.Open(ir.Text(""))]
                    if self._open is not None
                    else [ir.Open(ir.Text(""))]
                )
                self._open = ir.Text
        elif isinstance(event, ir.Close):
            if self._open is None:
                return before
            self._open = None
        # A citation outside a text, or a seal outside of thinking, says nothing about any block.
        elif self._open is not (ir.Text if isinstance(event, ir.Cite) else ir.Thinking):
            return before
        return [*before, event]


def has_expected_types(event: ir.Event) -> bool:
    """Return True if every field that a reader took from a provider has the type expected by
    writers.
    """
    # The patterns name only the fields that a reader copies from its provider; the other fields are
    # made by the reader itself.
    match event:
        case ir.Start(id=str(), model=str()) | ir.Delta(str()) | ir.Close() | ir.Ping():
            return True
        case ir.Open(ir.Text(str(), phase=None | str()) | ir.Refusal(str(), phase=None | str())):
            return True
        case ir.Open(ir.Thinking(text=str(), signature=str(), id=str())):
            return True
        case ir.Open(ir.ToolCall(id=str(), name=str(), arguments=str(), namespace=str())):
            return True
        case ir.Open(ir.Opaque(data={"type": str()} as data)):
            return isinstance(data.get("id", ""), str)
        case ir.Cite(ir.Citation(url=str(), title=str(), start=None | int(), end=None | int())):
            return True
        case ir.Seal(signature=str(), id=str()):
            return True
        case ir.Stop(stop_sequence=None | str(), explanation=None | str(), category=None | str()):
            return event.service_tier is None or isinstance(event.service_tier, str)
        case ir.Fail(message=str(), status=int(), code=str(), param=str()):
            return True
    return False


_TAKES_DELTA = frozenset({ir.Text, ir.Thinking, ir.ToolCall, ir.Refusal})


class Fold:
    """Builds a whole reply from passing events. `result` is the reply so far."""

    __slots__ = ("_cites", "_end", "_part", "_parts", "_seal", "_start", "_texts")

    def __init__(self) -> None:
        self._start = ir.Start()
        self._parts: list[ir.ReplyPart] = []
        self._part: ir.ReplyPart | None = None
        self._texts: list[str] = []
        self._cites: list[ir.Cite] = []
        self._seal: ir.Seal | None = None
        self._end: ir.Stop | ir.Fail = CUT

    def feed(self, event: ir.Event) -> None:
        match event:
            case ir.Delta(text):
                self._texts.append(text)
            case ir.Open(part):
                self._part = part
                self._texts = []
                self._cites = []
                self._seal = None
            case ir.Cite():
                self._cites.append(event)
            case ir.Seal():
                self._seal = event
            case ir.Close():
                self._parts.append(self._whole())
            case ir.Start():
                self._start = event
            case ir.Stop() | ir.Fail():
                self._end = event

    def _whole(self) -> ir.ReplyPart:
        part = self._part
        text = "".join(self._texts)
        seal = self._seal
        match part:
            case ir.Text():
                cited = tuple(cite.citation for cite in self._cites)
                return replace(part, text=part.text + text, citations=part.citations + cited)
            case ir.ToolCall():
                return replace(part, arguments=part.arguments + text)
            case ir.Thinking() if seal:
                sealed = replace(
                    part, signature=seal.signature, vendor=seal.vendor, id=seal.id or part.id
                )
                return replace(sealed, text=part.text + text)
            case ir.Thinking() | ir.Refusal():
                return replace(part, text=part.text + text)
            case ir.Opaque():
                return part
        raise ValueError("a block was closed that nobody opened: events must be well-formed")

    def result(self) -> ir.Reply | ir.Fail:
        if isinstance(self._end, ir.Fail):
            return self._end
        return ir.Reply(self._start.id, self._start.model, tuple(self._parts), self._end)


def fold(events: Iterable[ir.Event]) -> ir.Reply | ir.Fail:
    """Return well-formed events as a reply, or as the failure at the end of the events."""
    folding = Fold()
    for event in events:
        folding.feed(event)
    return folding.result()


def unfold(reply: ir.Reply) -> Iterator[ir.Event]:
    """Yield the shortest sequence of events with `reply` as the fold."""
    yield ir.Start(reply.id, reply.model, replace(reply.stop.usage, output=0, reasoning=0))
    for part in reply.parts:
        header, text, last = _taken_apart(part)
        yield ir.Open(header)
        if text:
            yield ir.Delta(text)
        yield from last
        yield ir.Close()
    yield reply.stop


def _taken_apart(part: ir.ReplyPart) -> tuple[ir.ReplyPart, str, Iterable[ir.Event]]:
    """Return a part as a header, a text, and closing events."""
    match part:
        case ir.Text():
            return replace(part, text="", citations=()), part.text, map(ir.Cite, part.citations)
        case ir.Thinking(signature=signature, vendor=vendor) if (
            signature and vendor and not part.redacted
        ):
            return (
                replace(part, text="", signature=""),
                part.text,
                [ir.Seal(signature, vendor, part.id)],
            )
        case ir.Thinking():
            return (
                replace(part, text="", signature=part.signature if part.redacted else ""),
                part.text,
                (),
            )
        case ir.Refusal():
            return replace(part, text=""), part.text, ()
        case ir.ToolCall():
            return replace(part, arguments=""), part.arguments, ()
    return part, "", ()
