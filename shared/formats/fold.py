"""Between events and whole replies, and the one place where a reader's output is put right.

`fold(unfold(reply)) == reply`, and whatever is fed to `WellFormed`, what leaves it keeps the grammar of `ir`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from shared.formats.ir import (
    Cite,
    Close,
    Delta,
    Event,
    Fail,
    Json,
    Opaque,
    Open,
    Ping,
    Refusal,
    Reply,
    Seal,
    Start,
    Stop,
    Text,
    Thinking,
    ToolCall,
)

NOTHING: tuple[Event, ...] = ()
CUT = Fail("The provider's answer broke off before it was complete.", status=502, code="stream_cut")
MALFORMED = Fail("The provider sent an event that is not what its format promises.", status=502, code="bad_stream")


class Sequencer:
    """Puts blocks that overlap upstream one after another: the first flows, the others wait for their turn.

    Blocks are told apart by any key the format has (an index, an item id).
    """

    __slots__ = ("_current", "_waiting")

    def __init__(self) -> None:
        self._current: Hashable = None
        self._waiting: dict[Hashable, list[Event]] = {}

    def open(self, key: Hashable, event: Open) -> Sequence[Event]:
        if self._current is None:
            self._current = key
            return (event,)
        self._waiting[key] = [event]
        return NOTHING

    def add(self, key: Hashable, event: Event) -> Sequence[Event]:
        """An event of an open block; of a block nobody opened it is dropped."""
        if key == self._current:
            return (event,)
        if key in self._waiting:
            self._waiting[key].append(event)
        return NOTHING

    def close(self, key: Hashable) -> Sequence[Event]:
        if key != self._current:
            return self.add(key, Close())
        released: list[Event] = [Close()]
        self._current = None
        while self._waiting and self._current is None:
            self._current = next(iter(self._waiting))
            released += self._waiting.pop(self._current)
            if type(released[-1]) is Close:
                self._current = None
        return released

    def drain(self) -> Sequence[Event]:
        """Close everything still open: the provider said it is done."""
        released: list[Event] = []
        while self._current is not None:
            released += self.close(self._current)
        return released


class _Reader(Protocol):
    def feed(self, data: Json) -> Sequence[Event]: ...
    def end(self) -> Sequence[Event]: ...


class WellFormed:
    """A reader whose output keeps the grammar: started once, blocks closed, one terminal event and nothing after it.

    Readers take payloads at their word; one that lacks what its type promises becomes a Fail here.
    """

    __slots__ = ("_done", "_open", "_reader", "_started")

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._started = self._done = False
        self._open: type | None = None

    def feed(self, data: Json) -> Sequence[Event]:
        try:
            events = self._reader.feed(data)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            return self._repair_all((replace(MALFORMED, message=f"{MALFORMED.message} ({error!r})"),))
        if len(events) == 1 and type(events[0]) is Delta and self._open in _TAKES_DELTA and not self._done:
            return events
        return self._repair_all(events)

    def end(self) -> Sequence[Event]:
        """The provider's stream is over; without a terminal event that is a failure."""
        events = self._repair_all(self._reader.end())
        return events if self._done else [*events, *self.repair(CUT)]

    def _repair_all(self, events: Iterable[Event]) -> Sequence[Event]:
        return [repaired for event in events for repaired in self.repair(event)]

    def repair(self, event: Event) -> Sequence[Event]:
        """The events that must stand in place of this one."""
        kind = type(event)
        if self._done:
            return NOTHING
        if kind is Start:
            first, self._started = not self._started, True
            return (event,) if first else NOTHING
        before: list[Event] = []
        if not self._started:
            self._started = True
            before.append(Start())
        if isinstance(event, Ping):
            return [*before, event]
        if isinstance(event, (Open, Stop, Fail)):
            if self._open is not None:
                before.append(Close())
            self._open = type(event.part) if isinstance(event, Open) else None
            self._done = not isinstance(event, Open)
        elif isinstance(event, Delta):
            if not event.text:
                return before
            if self._open not in _TAKES_DELTA:
                before += [Close(), Open(Text(""))] if self._open is not None else [Open(Text(""))]
                self._open = Text
        elif isinstance(event, Close):
            if self._open is None:
                return before
            self._open = None
        elif self._open is not (Text if isinstance(event, Cite) else Thinking):
            return before
        return [*before, event]


_TAKES_DELTA = frozenset({Text, Thinking, ToolCall, Refusal})


class Fold:
    """Builds the whole reply while events pass; `result` is what they came to."""

    __slots__ = ("_cites", "_end", "_part", "_parts", "_seal", "_start", "_texts")

    def __init__(self) -> None:
        self._start = Start()
        self._parts: list[Text | Thinking | ToolCall | Refusal | Opaque] = []
        self._part: Text | Thinking | ToolCall | Refusal | Opaque | None = None
        self._texts: list[str] = []
        self._cites: list[Cite] = []
        self._seal: Seal | None = None
        self._end: Stop | Fail = CUT

    def feed(self, event: Event) -> None:
        match event:
            case Delta(text):
                self._texts.append(text)
            case Open(part):
                self._part, self._texts, self._cites, self._seal = part, [], [], None
            case Cite():
                self._cites.append(event)
            case Seal():
                self._seal = event
            case Close():
                self._parts.append(self._whole())
            case Start():
                self._start = event
            case Stop() | Fail():
                self._end = event

    def _whole(self) -> Text | Thinking | ToolCall | Refusal | Opaque:
        text = "".join(self._texts)
        match self._part:
            case Text() as part:
                cited = tuple(cite.citation for cite in self._cites)
                return replace(part, text=part.text + text, citations=part.citations + cited)
            case Refusal() as part:
                return Refusal(part.text + text)
            case ToolCall() as part:
                return replace(part, arguments=part.arguments + text)
            case Thinking() as part if self._seal:
                seal = self._seal
                return replace(
                    part, text=part.text + text, signature=seal.signature, vendor=seal.vendor, id=seal.id or part.id
                )
            case Thinking() as part:
                return replace(part, text=part.text + text)
            case Opaque() as part:
                return part
        raise ValueError("a block was closed that nobody opened: events must be well-formed")

    def result(self) -> Reply | Fail:
        if isinstance(self._end, Fail):
            return self._end
        return Reply(self._start.id, self._start.model, tuple(self._parts), self._end)


def fold(events: Iterable[Event]) -> Reply | Fail:
    """Well-formed events as one reply, or the failure they ended in."""
    folding = Fold()
    for event in events:
        folding.feed(event)
    return folding.result()


def unfold(reply: Reply) -> Iterator[Event]:
    """A whole reply as the shortest events that fold to it."""
    yield Start(reply.id, reply.model, replace(reply.stop.usage, output=0, reasoning=0))
    for part in reply.parts:
        text = ""
        match part:
            case Text():
                text = part.text
                yield Open(replace(part, text="", citations=()))
            case Refusal():
                text = part.text
                yield Open(Refusal(""))
            case Thinking():
                text = part.text
                yield Open(replace(part, text="", signature=part.signature if part.redacted else ""))
            case ToolCall():
                text = part.arguments
                yield Open(replace(part, arguments=""))
            case Opaque():
                yield Open(part)
        if text:
            yield Delta(text)
        if isinstance(part, Text):
            yield from map(Cite, part.citations)
        if isinstance(part, Thinking) and part.signature and part.vendor and not part.redacted:
            yield Seal(part.signature, part.vendor, part.id)
        yield Close()
    yield reply.stop
