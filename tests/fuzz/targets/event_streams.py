"""The parser of server-sent events, beside a slow reader written from the standard alone."""

from __future__ import annotations

import re

from shared.formats.sse import (
    Parser,
    ServerSentEvent,
    encode_event,
    events_in,
    has_event,
    last_boundary,
    split_events,
)
from tests.fuzz.targets.target import Target, hold, pieces_of, seed

BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")
PLAIN = b'event: message_start\ndata: {"type":"message_start"}\n\n'


def read_by_the_standard(stream: bytes) -> list[ServerSentEvent]:
    """Return the events of `stream` line by line; the end of the stream ends the last event."""
    events: list[ServerSentEvent] = []
    fields: dict[bytes, bytes] = {}
    data: list[bytes] = []
    for line in [*LINE_END.split(stream.removeprefix(BOM)), b""]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if line == b"":
            if data:
                names = [fields.get(name) for name in (b"event", b"id")]
                name, event_id = [each and each.decode("utf-8", "replace") for each in names]
                found = b"event" in fields, b"id" in fields
                events.append(
                    ServerSentEvent(
                        (name or "") if found[0] else None,
                        b"\n".join(data),
                        (event_id or "") if found[1] else None,
                    )
                )
            fields.clear()
            data.clear()
        elif field == b"data":
            data.append(value)
        elif field == b"event" or (field == b"id" and b"\0" not in value):
            fields[field] = value
    return events


def fed(pieces: list[bytes]) -> list[ServerSentEvent]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


def check(data: bytes) -> None:
    number, stream = data[0], data[2:]
    events = events_in(stream)
    hold(events == read_by_the_standard(stream), "the parser reads as the standard says")
    hold(fed(pieces_of(stream, number)) == events, "pieces have the events of the whole")
    hold(has_event(stream) == bool(events), "has_event finds an event where there is one")
    hold(b"".join(split_events(stream)) == stream, "split events are the stream")
    boundary = last_boundary(stream)
    hold(stream[boundary:].strip(b"\r\n") == b"" or boundary < len(stream), "a boundary is inside")
    if not stream[boundary:].startswith(BOM):
        both = events_in(stream[:boundary]) + events_in(stream[boundary:])
        hold(both == events, "a boundary cuts no event")
    for event in events:
        written = encode_event(event.name, event.data)
        lines = LINE_END.sub(b"\n", event.data)
        if event.name != ":":
            hold(
                events_in(written) == [ServerSentEvent(event.name, lines)],
                "a written event is read as itself",
            )


def seeds() -> list[bytes]:
    streams = [
        PLAIN * 2,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"\n", b"\r") + b": ping\n\n" + PLAIN,
        BOM + b"id: 7\nretry: 5\ndata: a\ndata: b\n\n",
        b"data\n\ndata:\n\nevent\ndata: x\n\nid: \0\ndata: y",
        b"event: a\r\ndata: 1\r\n\r\n\r\ndata: \xff\n\n\n\n:c",
    ]
    return [
        seed(number, stream) for number, stream in zip((255, 1, 3, 8, 40, 99), streams, strict=True)
    ]


EVENT_STREAMS = Target("sse", "the parser of server-sent events", check, seeds, form="stream")
