"""Watches a Responses stream as it passes: its usage, its end, and the whole response its items add
up to.

The ChatGPT backend's last event leaves `output` empty (now and then it is little more than an id
and usage), and the items come only one by one. A client that knows that backend gets every byte
unchanged; for any other client the last event is made whole, every response in an event gets the
settings that the public standard of this format requires, and events of that backend's own are left
out. Frames are only decoded when they carry one of the marks.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from gateway.proxy.messages_tap import MAX_PENDING_BYTES, note_tier, note_usage
from shared.bus.channels import AccessRecord
from shared.formats.fields import inner_object, text_in
from shared.formats.ir import Fail, Json, StopReason
from shared.formats.responses import read_error
from shared.formats.responses.settings import with_settings
from shared.formats.responses.usage import read_usage
from shared.formats.sse import encode_event, events_in, has_event, last_boundary, split_events
from shared.runtime.errors import UpstreamError
from shared.runtime.exact_json import dump_json, load_json

# Quotes inside a JSON string are escaped, so text never contains a mark.
MARKS = re.compile(
    rb'"(?:response\.(?:created|queued|in_progress|output_item\.done|completed|done|incomplete|failed|cancelled)|error'
    rb'|codex\.[a-z_.]+)"'
)
STATUSES = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
CUT_SHORT = {"max_output_tokens": StopReason.MAX_TOKENS, "content_filter": StopReason.REFUSAL}
EVENT_END = b"\n\n"
CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})


class ResponsesTap:
    """Watches a Responses stream. `response` is the whole response once `finished`, unless
    `failed`.

    With `untouched` every byte is passed on. `naming` puts the model's name as the client asked for
    it into events with a whole response. `echo` are fields of the response about its storage; with
    them the last event waits for `end`, so that the response can be stored before its client knows
    that it is over.
    """

    def __init__(
        self,
        record: AccessRecord,
        *,
        untouched: bool,
        naming: Callable[[bytes], bytes] = bytes,
        echo: Json | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.record = record
        self._echo = echo or {}
        self._clock = clock
        self._held = b""
        self._untouched = untouched
        self.naming = naming
        self._pending = b""
        self._begun: Json = {}
        self._items: list[tuple[int, Json]] = []
        self.begun = False
        self.finished = False
        self.failed: Fail | None = None
        self.response: Json = {}

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes of whole events, ready to be sent."""
        data = self._pending + chunk if self._pending else chunk
        end = last_boundary(data)
        if len(data) - end > MAX_PENDING_BYTES:
            # An event without an end: held back any longer, it would fill the memory. The bytes
            # pass on.
            self._pending = b""
            return data
        self._pending = data[end:]
        data = data[:end]
        self.begun = self.begun or has_event(data)
        return self._look(data)

    def end(self) -> bytes:
        """End the stream, and return the remaining bytes; a last event without its blank line still
        counts.
        """
        rest = self._pending
        self._pending = b""
        if not rest.strip():
            return self._held + rest
        # The event is read with the blank line it lacks; where every byte passes unchanged the line
        # is taken away again.
        last = self._look(rest + EVENT_END)
        return self._held + (last.removesuffix(EVENT_END) if self._untouched else last)

    def _ready(self, piece: bytes) -> bytes:
        """Return `piece`, or hold it back for `end` when the last event has passed and the response
        is to be stored.
        """
        if not (self._echo and self.finished):
            return piece
        self._held += piece
        return b""

    def _look(self, data: bytes) -> bytes:
        """Return `data` with every marked frame in its final form."""
        mark = MARKS.search(data)
        if mark is None:
            return self._ready(data)
        # Line ends other than "\n" are rare, and need the slower rules of the standard.
        if b"\r" in data:
            return b"".join(
                [
                    self._ready(self._pass(frame) if MARKS.search(frame) else frame)
                    for frame in split_events(data)
                ]
            )
        # From a mark, the nearest blank lines on both sides are the bounds of its event. All events
        # between two marked events pass without being split.
        pieces = []
        done = 0
        while mark is not None:
            before = data.rfind(b"\n\n", done, mark.start())
            start = before + 2 if before >= 0 else done
            end = data.find(b"\n\n", mark.end()) + 2
            pieces.append(self._ready(data[done:start]))
            pieces.append(self._ready(self._pass(data[start:end])))
            done = end
            mark = MARKS.search(data, done)
        pieces.append(self._ready(data[done:]))
        return b"".join(pieces)

    def _pass(self, frame: bytes) -> bytes:
        """Note a frame, and return the frame in its final form."""
        payload = payload_of(frame)
        kind = text_in(payload, "type")
        told = inner_object(payload, "response")
        if kind == "response.created":
            self._begun = told
            self.record.model = text_in(told, "model") or self.record.model
        elif kind == "response.output_item.done":
            self._keep(payload)
        elif kind == "error":
            self._fail(read_error(payload, 0))
        elif kind in STATUSES:
            told = self._finish(STATUSES[kind], told)
        elif kind.startswith("codex.") and not self._untouched:
            return b""
        if not told:
            return frame
        if not self._untouched:
            whole = with_settings(told | self._echo, now=self._clock())
            # The response that is stored must be the one the client sees.
            if self.response:
                self.response = whole
            # An event that needs no change passes with the provider's own bytes.
            if whole != payload.get("response"):
                # A provider's name of an event must make no comment of the event.
                name = None if kind == ":" else kind
                frame = encode_event(name, dump_json(payload | {"response": whole}))
        return self.naming(frame)

    def _keep(self, payload: Json) -> None:
        """Store a finished item once; services have given two items the same index."""
        item = inner_object(payload, "item")
        index = payload.get("output_index")
        place = index if isinstance(index, int) else len(self._items)
        again = [
            kept for kept in self._items if kept[0] == place and kept[1].get("id") == item.get("id")
        ]
        self._items = [kept for kept in self._items if kept not in again]
        self._items.append((place, item))

    def _finish(self, status: str, told: Json) -> Json:
        """Return the completed response: the same object if the provider's was complete."""
        self.finished = True
        items = [item for _, item in sorted(self._items, key=itemgetter(0))]
        whole = told
        # The last event lacks a part: the first event fills the fields, the items fill `output`. A
        # null of the last event must not erase a field of the first.
        if "object" not in told or (items and not told.get("output")):
            said = {name: value for name, value in told.items() if value is not None}
            whole = (
                self._begun | {"status": status} | said | {"output": told.get("output") or items}
            )
        if status in {"failed", "cancelled"}:
            self._fail(
                read_error(
                    {
                        "error": inner_object(told, "error")
                        or {"message": f"The response was {status}."}
                    },
                    0,
                )
            )
        else:
            self.response = whole
            note_response(self.record, whole)
        return whole

    def _fail(self, fail: Fail) -> None:
        self.finished = True
        self.failed = fail
        self.record.error_kind = fail.code or "upstream"
        self.record.error_message = fail.message[:500]


def payload_of(frame: bytes) -> dict[str, Any]:
    """Return the JSON object of an event, on any number of lines; an empty object for any other
    data.
    """
    try:
        events = events_in(frame)
        payload = load_json(events[0].data) if events else {}
    except (json.JSONDecodeError, UpstreamError):
        return {}
    return payload if isinstance(payload, dict) else {}


def note_response(record: AccessRecord, response: Json) -> None:
    """Put the model, the end and the cost of a whole response into the record."""
    record.model = text_in(response, "model") or record.model
    note_usage(record, read_usage(response.get("usage")))
    note_tier(record, text_in(response, "service_tier"))
    record.cache_miss_reason = text_in(
        inner_object(response, "prompt_cache_diagnostics"), "reason"
    )[:100]
    cause = inner_object(response, "incomplete_details").get("reason")
    output = response.get("output")
    items = output if isinstance(output, list) else []
    called = any(text_in(item, "type") in CALLS for item in items)
    ended = StopReason.TOOL_USE if called else StopReason.END_TURN
    record.stop_reason = CUT_SHORT.get(str(cause), ended).value


def note_whole_response(record: AccessRecord, body: bytes) -> None:
    """Put a whole reply into the record: a response, or an error."""
    try:
        document = load_json(body)
    except json.JSONDecodeError:
        return
    if not isinstance(document, dict):
        return
    if document.get("error"):
        fail = read_error(document, record.status_code or 502)
        record.error_kind = fail.code or "refused"
        record.error_message = fail.message[:500]
    elif document.get("object") == "response":
        note_response(record, document)
