"""The parser sees the same events however the network cuts the bytes."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.sse import (
    KEEP_ALIVE,
    LIMIT,
    Parser,
    ServerSentEvent,
    encode_event,
    events_in,
    has_event,
    marked_events,
)
from shared.runtime.errors import UpstreamError

STREAM = (
    '\ufeffevent: first\ndata: {"a": "\u2028\u2029\x85"}\n\n'
    ": a comment\n\n"
    "data: one\ndata:two\ndata\ndata:  three\nid: 7\nretry: 10\n\n\n"
    "event: empty\n\n"
    "data:\n\n"
    "event: last\ndata: é"
).encode()
EVENTS = [
    ServerSentEvent("first", '{"a": "\u2028\u2029\x85"}'.encode()),
    ServerSentEvent(None, b"one\ntwo\n\n three", "7"),
    ServerSentEvent(None, b""),
    ServerSentEvent("last", "é".encode()),
]


def parse(*chunks: bytes) -> list[ServerSentEvent]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.end()


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_every_split_point_gives_the_same_events(line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    for first in range(len(stream) + 1):
        assert parse(stream[:first], stream[first:]) == EVENTS
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == EVENTS


@given(
    st.lists(
        st.tuples(
            st.none() | st.text("abc_.", min_size=1),
            st.text().map(lambda text: json.dumps(text).encode()),
        )
    ),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.lists(st.integers(0, 400)),
)
def test_what_was_encoded_is_parsed_back(
    events: list[tuple[str | None, bytes]], end: bytes, cuts: list[int]
) -> None:
    wire = b"".join(encode_event(name, data) + KEEP_ALIVE for name, data in events).replace(
        b"\n", end
    )
    points = [0, *sorted(cuts), len(wire)]
    chunks = [wire[start:stop] for start, stop in itertools.pairwise(points)]
    assert parse(*chunks) == [ServerSentEvent(name, data) for name, data in events]


@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_at_all_are_parsed_alike_in_one_piece_or_many(chunks: list[bytes]) -> None:
    assert parse(*chunks) == parse(b"".join(chunks))


def test_an_event_is_returned_with_the_very_chunk_that_completes_it() -> None:
    parser = Parser()
    assert parser.feed(b"data: 1\r\n\r") == [ServerSentEvent(None, b"1")]
    assert parser.feed(b"\ndata: 2\r\r") == [ServerSentEvent(None, b"2")]


def test_line_ends_inside_data_survive_as_several_data_lines() -> None:
    assert encode_event("x", b"a\r\nb\rc\nd") == b"event: x\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    assert parse(encode_event(None, b"a\nb")) == [ServerSentEvent(None, b"a\nb")]


def test_an_event_as_large_as_the_limit_passes_and_a_larger_one_is_an_error() -> None:
    parser = Parser(limit=20)
    assert parser.feed(b"data: " + b"x" * 14 + b"\n\n") == [ServerSentEvent(None, b"x" * 14)]
    with pytest.raises(UpstreamError, match="more than 20 bytes"):
        parser.feed(b"data: " + b"x" * 15 + b"\n\n")
    growing = Parser(limit=20)
    growing.feed(b"data: 0123456789")
    with pytest.raises(UpstreamError):
        growing.feed(b"0123456789")


def test_a_large_event_in_small_pieces_costs_linear_time() -> None:
    """A parser that copied what it holds at each piece would move a terabyte here and meet the
    suite's timeout.
    """
    parser = Parser()
    for _ in range(LIMIT // 64 - 1):
        assert parser.feed(b"data:" + b"x" * 58 + b"\n") == []
    assert len(parser.feed(b"\n")) == 1


@pytest.mark.parametrize(
    ("written", "event_id"),
    [
        (b"id: 7\nevent: e\n", "7"),
        (b"id:7\n", "7"),
        (b"id\n", ""),
        (b"id: 1\nid: 2\n", "2"),
        (b"id: \0\n", None),
    ],
)
def test_an_event_has_the_id_that_was_written_with_it(written: bytes, event_id: str | None) -> None:
    first, second = parse(written + b"data: x\n\ndata: y\n\n")
    assert (first.id, first.data, second.id) == (event_id, b"x", None)


def test_a_comment_is_no_event() -> None:
    assert encode_event(":", b"keep-alive") == KEEP_ALIVE
    assert Parser().feed(encode_event(":", b"keep-alive") + encode_event(None, b"x")) == [
        ServerSentEvent(None, b"x")
    ]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", False),
        (b": a comment\n\n", False),
        (b"event: named\n\n", False),
        (b": a comment\r\rdata: {}\r\r", True),
        (b"data: {}\n\n", True),
        (b"data: " + b"x" * (LIMIT + 1), True),
    ],
    ids=["nothing", "a comment", "a name alone", "an event after a comment", "data", "too large"],
)
def test_only_data_makes_an_event(data: bytes, found: bool) -> None:
    assert has_event(data) is found


MARKED = [
    b"event: other\ndata: 1\n\n",
    b"event: mark\ndata: 2\n\n",
    b": a mark in a comment\n\n",
    b"data: mark and mark\n\n",
    b"event: other\ndata: 3\n\n",
    b"data: first\ndata: other\ndata: a mark\n\n",
]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("order", [MARKED, MARKED[::-1], MARKED[1:2], MARKED[:1]])
def test_marked_events_are_all_events_with_a_mark_in_their_order(
    order: list[bytes], line_end: bytes
) -> None:
    spelled = [block.replace(b"\n", line_end) for block in order]
    expected = [event for block in spelled if b"mark" in block for event in events_in(block)]
    assert marked_events(b"".join(spelled), (b"mark", b"a mark")) == expected


def test_a_marked_event_without_its_blank_line_is_found() -> None:
    assert marked_events(MARKED[0] + b"data: mark", (b"mark",)) == [ServerSentEvent(None, b"mark")]
