"""A capture is read as it was written, and a damaged file is an error that says so."""

from __future__ import annotations

import zlib

import pytest

from shared.captures.capture import (
    Capture,
    NotACapture,
    Part,
    Summary,
    parts_as_json,
    read_capture,
    read_summary,
    write_capture,
)

CAPTURE = Capture(
    Summary("req_" + "0" * 24, 12.5, model="claude-x", removed={"jwt": 1}),
    Part([["content-type", "application/json"]], '{"a":1}', 7),
    Part(body='{"a":1}', method="POST", address="https://example.test/v1/messages"),
    Part(body="data: x\n\n", status=200, chunks=[[4, 0.0], [9, 1.5]]),
    Part(body="data: x\n\n", status=200, is_whole=False),
)


def test_a_capture_is_read_as_it_was_written() -> None:
    assert read_capture(write_capture(CAPTURE)) == CAPTURE


def test_the_first_line_of_a_file_is_its_summary() -> None:
    first = write_capture(CAPTURE).partition(b"\n")[0]
    assert read_summary(first) == CAPTURE.summary


def test_the_same_body_is_written_once() -> None:
    written = parts_as_json(CAPTURE)
    assert written["sent"]["body_of"] == "request"
    assert written["reply"]["body_of"] == "answer"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b'{"capture":2}\n',
        b'{"capture":1,"id":"a"}\n',
        b'{"capture":1,"id":"a","at":"never"}\n',
        b'{"capture":1,"id":"a","at":1}\nno zlib',
        b'{"capture":1,"id":"a","at":1}\n' + zlib.compress(b"{}"),
        b'{"capture":1,"id":"a","at":1}\n' + zlib.compress(b'{"request":{"size":"x"}}'),
        write_capture(CAPTURE)[:-5],
    ],
)
def test_a_damaged_file_is_no_capture(data: bytes) -> None:
    with pytest.raises(NotACapture):
        read_capture(data)


def test_a_field_of_a_newer_version_is_left_out() -> None:
    line = b'{"capture":1,"id":"a","at":1,"newer":true}'
    assert read_summary(line) == Summary("a", 1)


def test_a_capture_nested_too_deeply_is_damaged() -> None:
    head, _, _ = write_capture(CAPTURE).partition(b"\n")
    deep = b"[" * 3000 + b"]" * 3000
    for data in (deep, head + b"\n" + zlib.compress(deep)):
        with pytest.raises(NotACapture):
            read_capture(data)
