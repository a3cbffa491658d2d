"""Server-sent events as bytes: an incremental parser and its inverse.

Lines end in LF, CR or CRLF and in nothing else (U+2028 is just text inside JSON), wherever the
network cut them. Time is linear in the bytes fed; an event beyond the limit is an error instead of
memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.runtime.errors import UpstreamError

LIMIT = 16 * 1024 * 1024
KEEP_ALIVE = b": keep-alive\n\n"
# How providers write nearly every event; anything else is taken apart line by line.
USUAL = re.compile(rb"event: ([^\n]*)\ndata: ([^\n]*)")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """`name` is the `event:` field and `id` the `id:` field of the event, both None when absent;
    several `data:` lines are joined by LF.
    """

    name: str | None
    data: bytes
    id: str | None = None


class Parser:
    """The parser of a server-sent event stream. Feed chunks; each call returns the events completed
    by the chunk. An event needs data.
    """

    __slots__ = ("_after_cr", "_at_start", "_limit", "_pending", "_pending_size")

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events completed by `chunk`. Raises UpstreamError if an event exceeds the
        limit.
        """
        if self._after_cr or b"\r" in chunk:
            chunk = self._unify_line_ends(chunk)
        if not chunk:
            return []
        # No event ends in this chunk, not even with a blank line that is cut in two by the chunks.
        # The pieces are only joined when an event ends, so the time stays linear in the bytes.
        if b"\n\n" not in chunk and not (
            chunk[0] == 0x0A and self._pending and self._pending[-1][-1] == 0x0A
        ):
            self._hold(chunk)
            return []
        if self._pending:
            self._pending.append(chunk)
            chunk = b"".join(self._pending)
            self._pending.clear()
            self._pending_size = 0
        *complete, rest = chunk.split(b"\n\n")
        if rest:
            self._hold(rest)
        return [event for block in complete if (event := self._parse(block)) is not None]

    def end(self) -> list[ServerSentEvent]:
        """Return the event at the end of the stream, even without the closing blank line."""
        block = b"".join(self._pending)
        self._pending.clear()
        self._pending_size = 0
        event = self._parse(block)
        return [] if event is None else [event]

    def _unify_line_ends(self, chunk: bytes) -> bytes:
        # A CR at the end of the last chunk was already read as a line end, so an LF that follows is
        # the second half of the same CRLF.
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, chunk: bytes) -> None:
        self._pending.append(chunk)
        self._pending_size += len(chunk)
        self._check(self._pending_size)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise UpstreamError(f"The provider sent one event of more than {self._limit} bytes.")

    def _parse(self, block: bytes) -> ServerSentEvent | None:
        if self._at_start:
            self._at_start = False
            block = block.removeprefix(_BOM)
        self._check(len(block))
        match = USUAL.fullmatch(block)
        if match is not None:
            return ServerSentEvent(match[1].decode("utf-8", "replace"), match[2])
        name: str | None = None
        event_id: str | None = None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ").decode("utf-8", "replace")
            elif field == b"id" and b"\0" not in value:  # an id with a null character is none
                event_id = value.removeprefix(b" ").decode("utf-8", "replace")
        return ServerSentEvent(name, b"\n".join(data), event_id) if data else None


# A blank line, in any of the three line ends; CRLF is one of them, never two.
BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


def last_boundary(data: bytes) -> int:
    """Return the index behind the last blank line of `data`; 0 when there is none."""
    if data.endswith(b"\n\n"):
        return len(data)
    # Without a CR only one kind of blank line is possible, and a search from the end is enough.
    if b"\r" not in data:
        at = data.rfind(b"\n\n")
        return at + 2 if at >= 0 else 0
    end = 0
    for found in BLANK_LINE.finditer(data):
        end = found.end()
    return end


def split_events(data: bytes) -> Iterator[bytes]:
    """Yield the bytes of `data` event by event, unchanged, with the blank lines between events."""
    start = 0
    for end in BLANK_LINE.finditer(data):
        yield data[start : end.end()]
        start = end.end()
    if start < len(data):
        yield data[start:]


def events_in(data: bytes) -> list[ServerSentEvent]:
    """Return the events of `data`, which ends at the end of an event. Raises UpstreamError for an
    event beyond the limit.
    """
    parser = Parser()
    return [*parser.feed(data), *parser.end()]


def marked_events(data: bytes, marks: Iterable[bytes]) -> list[ServerSentEvent]:
    """Return, in order, the events of `data` that hold one of `marks`; `data` ends at the end of an
    event. Raises UpstreamError for an event beyond the limit.
    """
    # Line ends other than LF are rare, and need the slower rules of the standard.
    if b"\r" in data:
        return [
            event
            for block in split_events(data)
            if any(mark in block for mark in marks)
            for event in events_in(block)
        ]
    # From a mark, the nearest blank lines on both sides are the bounds of its event. All other
    # events pass without being split.
    blocks: dict[int, bytes] = {}
    for mark in marks:
        at = data.find(mark)
        while at >= 0:
            before = data.rfind(b"\n\n", 0, at)
            start = before + 2 if before >= 0 else 0
            after = data.find(b"\n\n", at)
            end = after if after >= 0 else len(data)
            blocks[start] = data[start:end]
            at = data.find(mark, end)
    return [event for start in sorted(blocks) for event in events_in(blocks[start])]


def has_event(data: bytes) -> bool:
    """Return True if `data`, complete up to the end of an event, has an event. A comment is no
    event; an event beyond the limit is an event.
    """
    usual = USUAL.match(data)
    if usual is not None and data.startswith(b"\n\n", usual.end()):
        return True
    try:
        return bool(events_in(data))
    except UpstreamError:
        return True


def encode_event(name: str | None, data: bytes) -> bytes:
    """Return an event as sent. Line ends inside `data` (never in JSON) become further `data:`
    lines.

    The name ":" makes it a comment. A name that no line can hold loses its line ends, and has `?`
    for half of a surrogate pair.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if name is None:
        return b"data: %b\n\n" % data
    if name == ":":
        return b": %b\n\n" % data
    written = name.encode(errors="replace")
    if b"\n" in written or b"\r" in written:
        written = written.replace(b"\n", b"").replace(b"\r", b"")
    return b"event: %b\ndata: %b\n\n" % (written, data)
