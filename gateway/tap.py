"""Reads usage and the end of a stream from bytes that pass by, decoding only the few frames that carry them.

Frames are found by their event line, which cannot occur inside JSON (a newline there is escaped). A tap never changes
a byte, and a frame it does not understand is none of its business.
"""

from __future__ import annotations

from typing import Any

import orjson

from shared.channels import AccessRecord

MAX_PENDING_BYTES = 16 * 1024 * 1024  # the largest event we are prepared to hold, as in the parser of shared/formats


class MessagesTap:
    """Watches a Messages stream and lets only whole events through, so that whatever follows stays well-formed."""

    MARKS = (b"event: message_start", b"event: message_delta", b"event: message_stop", b"event: error")

    def __init__(self, record: AccessRecord) -> None:
        self._record = record
        self._pending = b""
        self.finished = False

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may go on now: everything up to the end of the last complete event."""
        data = self._pending + chunk if self._pending else chunk
        end = last_boundary(data)
        if end == len(data):
            self._pending = b""
        elif len(data) - end > MAX_PENDING_BYTES:
            self._pending, end = b"", len(data)
        else:
            self._pending, data = data[end:], data[:end]
        if data:
            self._look_for_marks(data)
        return data

    def end(self) -> bytes:
        """The stream is over; a last event without its blank line still counts."""
        rest, self._pending = self._pending, b""
        if rest:
            self._look_for_marks(rest + b"\n\n")
        return rest

    def _look_for_marks(self, data: bytes) -> None:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for mark in self.MARKS:
            position = data.find(mark)
            while position >= 0:
                if position == 0 or data[position - 1] == 0x0A:
                    self._read_frame(mark, data, position)
                position = data.find(mark, position + len(mark))

    def _read_frame(self, mark: bytes, data: bytes, position: int) -> None:
        start, end = data.find(b"data:", position), data.find(b"\n\n", position)
        try:
            payload = orjson.loads(data[start + 5 : end])
        except orjson.JSONDecodeError:
            return
        if mark is self.MARKS[2]:
            self.finished = True
        elif mark is self.MARKS[3]:
            self.finished = True
            note_error(self._record, payload)
        elif mark is self.MARKS[0]:
            note_message(self._record, payload.get("message") or {})
        else:
            note_usage(self._record, payload.get("usage") or {})
            self._record.stop_reason = (payload.get("delta") or {}).get("stop_reason") or ""


def last_boundary(data: bytes) -> int:
    """The index behind the last blank line, in any of the three line endings; 0 when there is none."""
    if data.endswith(b"\n\n"):
        return len(data)
    ends = [(data.rfind(b"\n\n"), 2)]
    if b"\r" in data:
        ends += [(data.rfind(b"\r\n\r\n"), 4), (data.rfind(b"\r\r"), 2)]
    return max((at + width for at, width in ends if at >= 0), default=0)


def note_whole_message(record: AccessRecord, body: bytes) -> None:
    """Usage of a whole Messages reply, or the kind of its error."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    if not isinstance(document, dict):
        return
    if document.get("type") == "error":
        note_error(record, document)
    elif document.get("type") == "message":
        note_message(record, document)
        record.stop_reason = document.get("stop_reason") or ""


def note_message(record: AccessRecord, message: dict[str, Any]) -> None:
    record.model = message.get("model") or record.model
    note_usage(record, message.get("usage") or {})


def note_usage(record: AccessRecord, usage: dict[str, Any]) -> None:
    """Usage in a stream is cumulative: each frame replaces what it names."""
    record.tokens_input = usage.get("input_tokens") or record.tokens_input
    record.tokens_output = usage.get("output_tokens") or record.tokens_output
    record.cache_read_tokens = usage.get("cache_read_input_tokens") or record.cache_read_tokens
    record.cache_write_tokens = usage.get("cache_creation_input_tokens") or record.cache_write_tokens
    written = usage.get("cache_creation") or {}
    record.cache_write_1h_tokens = written.get("ephemeral_1h_input_tokens") or record.cache_write_1h_tokens
    details = usage.get("output_tokens_details") or {}
    record.reasoning_tokens = details.get("thinking_tokens") or record.reasoning_tokens


def note_error(record: AccessRecord, envelope: dict[str, Any]) -> None:
    error = envelope.get("error") or {}
    record.error_kind = error.get("type") or "refused"
    record.error_message = str(error.get("message") or "")[:500]
