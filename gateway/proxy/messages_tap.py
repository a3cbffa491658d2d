"""Reads usage and the end of a Messages stream from passing bytes, decoding only the few events
that carry them.

A tap only watches: it never changes a byte, and an unknown event costs a field of the record and
one line of the log, never the client's stream. Every spelling of an event stream that the standard
allows is understood: a chunk that may hold a marked event goes through the parser of
`shared/formats/sse.py`.
"""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any

from shared.bus.channels import AccessRecord
from shared.formats.fields import inner_object, text_in
from shared.formats.ir import Json, Usage
from shared.formats.messages.usage import merge_usage, read_tier, read_usage
from shared.formats.sse import ServerSentEvent, has_event, last_boundary, marked_events
from shared.runtime.errors import UpstreamError
from shared.runtime.exact_json import inspect_json
from shared.runtime.log import get_log

# The largest event kept in memory, as in the parser of shared/formats.
MAX_PENDING_BYTES = 16 * 1024 * 1024

# The providers' words for the tier without a price of its own. `auto` names none yet.
STANDARD_TIERS = frozenset({"", "standard", "default", "auto"})
MAX_TIER = 40  # characters of a name that a provider may invent

NAMES = frozenset({"message_start", "message_delta", "message_stop", "error"})


class MessagesTap:
    """Watches a Messages stream and passes only whole events, so that a later error event stays
    well-formed.
    """

    # Every relevant event has a mark outside of texts; inside a text the quotes would be escaped.
    MARKS = (b"message_", b'"error"', b"event: error", b"event:error")

    def __init__(self, record: AccessRecord) -> None:
        self._record = record
        self._pending = b""
        self._usage: Json = {}
        self._complained = False
        self.begun = False
        self.finished = False

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes ready to be sent: everything up to the end of the last
        complete event.
        """
        data = self._pending + chunk if self._pending else chunk
        end = last_boundary(data)
        if end == len(data):
            self._pending = b""
        elif len(data) - end > MAX_PENDING_BYTES:
            # An event without an end: held back any longer, it would fill the memory. The bytes
            # pass on.
            self._pending = b""
            end = len(data)
        else:
            self._pending = data[end:]
            data = data[:end]
        if data:
            self.begun = self.begun or has_event(data)
            self._look_for_marks(data)
        return data

    def end(self) -> bytes:
        """End the stream, and return the remaining bytes; a last event without its blank line still
        counts.
        """
        rest = self._pending
        self._pending = b""
        if rest:
            self._look_for_marks(rest)
        return rest

    def _look_for_marks(self, data: bytes) -> None:
        try:
            events = marked_events(data, self.MARKS)
        except UpstreamError as error:
            self._complain(error.message)
            return
        for event in events:
            self._note(event)

    def _note(self, event: ServerSentEvent) -> None:
        if event.name not in NAMES and not any(mark in event.data for mark in self.MARKS):
            return
        try:
            payload = inspect_json(event.data)
        except JSONDecodeError:
            payload = None
        if not isinstance(payload, dict):
            self._complain(f"the data of {event.name or 'an event'} is no JSON object")
            payload = {}
        match payload.get("type") or event.name:
            case "message_stop":
                self.finished = True
            case "error":
                self.finished = True
                note_error(self._record, payload)
            case "message_start":
                message = inner_object(payload, "message")
                self._record.model = text_in(message, "model") or self._record.model
                note_cache_miss(self._record, message)
                self._count(message.get("usage"))
            case "message_delta":
                note_cache_miss(self._record, payload)
                note_cache_miss(self._record, inner_object(payload, "delta"))
                self._count(payload.get("usage"))
                self._record.stop_reason = text_in(inner_object(payload, "delta"), "stop_reason")

    def _count(self, told: Any) -> None:
        self._usage = merge_usage(self._usage, told)
        note_usage(self._record, read_usage(self._usage))
        note_tier(self._record, read_tier(self._usage))

    def _complain(self, why: str) -> None:
        """Log a warning once for a whole stream."""
        if not self._complained:
            self._complained = True
            get_log().warning(
                "stream_not_understood", request_id=self._record.request_id, reason=why
            )


def note_whole_message(record: AccessRecord, body: bytes) -> None:
    """Put the usage of a whole Messages reply, or the kind of its error, into the record."""
    try:
        document = inspect_json(body)
    except JSONDecodeError:
        return
    if not isinstance(document, dict):
        return
    if document.get("type") == "error":
        note_error(record, document)
    elif document.get("type") == "message":
        record.model = text_in(document, "model") or record.model
        record.stop_reason = text_in(document, "stop_reason")
        note_cache_miss(record, document)
        usage = inner_object(document, "usage")
        note_usage(record, read_usage(usage))
        note_tier(record, read_tier(usage))


def note_cache_miss(record: AccessRecord, message: Json) -> None:
    """Put Anthropic's cause for a prompt cache miss into the record."""
    reason = inner_object(inner_object(message, "diagnostics"), "cache_miss_reason")
    record.cache_miss_reason = text_in(reason, "type")[:100] or record.cache_miss_reason


def note_usage(record: AccessRecord, usage: Usage) -> None:
    """Put the provider's counts, of any format, into the record."""
    record.tokens_input = usage.input
    record.tokens_output = usage.output
    record.reasoning_tokens = usage.reasoning
    record.cache_read_tokens = usage.cache_read
    record.cache_write_tokens = usage.cache_write
    record.cache_write_1h_tokens = usage.cache_write_1h


def note_tier(record: AccessRecord, tier: str | None) -> None:
    """Put the service tier that a reply names, in any format, into the record."""
    record.service_tier = "" if tier in STANDARD_TIERS or tier is None else tier[:MAX_TIER]


def note_error(record: AccessRecord, envelope: Json) -> None:
    error = inner_object(envelope, "error")
    record.error_kind = text_in(error, "type") or "refused"
    record.error_message = str(error.get("message") or "")[:500]
