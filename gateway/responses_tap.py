"""Watches a Responses stream as it passes: its usage, its end, and the whole response its items add up to.

The ChatGPT backend's last event leaves `output` empty (now and then it is little more than an id and usage), and the
items come only one by one. A client that knows that backend gets every byte as it is; for any other the last event is
made whole, and events of that backend's own are left out. Frames are only decoded when they carry one of the marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway.tap import MAX_PENDING_BYTES, last_boundary
from shared.channels import AccessRecord
from shared.formats.ir import Fail, Json, StopReason
from shared.formats.openai_responses import read_error
from shared.formats.sse import encode

# Inside a JSON string these quotes would be escaped, so text never carries a mark.
MARKS = re.compile(
    rb'"type"\s*:\s*"(?:response\.(?:created|in_progress|output_item\.done|completed|done|incomplete|failed|cancelled)"'
    rb'|codex\.|error")'
)
FRAME_END = re.compile(rb"(?:\r\n|\n|\r){2}")
STATUSES = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
CUT_SHORT = {"max_output_tokens": StopReason.MAX_TOKENS, "content_filter": StopReason.REFUSAL}
CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})


class ResponsesTap:
    """`response` is the whole response once `finished`, unless it `failed`. `untouched`: hand on every byte.

    `naming` puts the model's name as the client asked for it into what tells of the whole response. `echo` are fields
    of the response that say how it is stored; with them the last event waits for `end`, so that the response can be
    stored before its client knows that it is over.
    """

    def __init__(
        self,
        record: AccessRecord,
        *,
        untouched: bool,
        naming: Callable[[bytes], bytes] = bytes,
        echo: Json | None = None,
    ) -> None:
        self.record = record
        self._echo = echo or {}
        self._held = b""
        self._untouched = untouched
        self.naming = naming
        self._pending = b""
        self._begun: Json = {}
        self._items: dict[int, Json] = {}
        self.finished = False
        self.failed: Fail | None = None
        self.response: Json = {}

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may go on now: whole events."""
        data = self._pending + chunk if self._pending else chunk
        end = last_boundary(data)
        if len(data) - end > MAX_PENDING_BYTES:
            self._pending = b""
            return data
        self._pending, data = data[end:], data[:end]
        return self._look(data)

    def end(self) -> bytes:
        """The stream is over; a last event without its blank line still counts."""
        rest, self._pending = self._pending, b""
        last = self._look(rest + b"\n\n") if rest else b""
        return self._held + last

    def _ready(self, piece: bytes) -> bytes:
        """Return `piece`, or hold it back for `end` when the last event has passed and the response is to be stored."""
        if not (self._echo and self.finished):
            return piece
        self._held += piece
        return b""

    def _look(self, data: bytes) -> bytes:
        """`data` with the marked frames as they go on."""
        mark = MARKS.search(data)
        if mark is None:
            return self._ready(data)
        if b"\r" in data:
            return b"".join(
                [self._ready(self._pass(frame) if MARKS.search(frame) else frame) for frame in frames(data)]
            )
        pieces, done = [], 0
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
        """The frame as it goes on, once noted."""
        payload = payload_of(frame)
        kind = payload.get("type")
        if self._echo and isinstance(payload.get("response"), dict):
            payload["response"].update(self._echo)
            frame = encode(str(kind), orjson.dumps(payload))
        if kind == "response.created":
            self._begun = payload.get("response") or {}
            self.record.model = self._begun.get("model") or self.record.model
        elif kind == "response.output_item.done":
            self._items[payload.get("output_index", len(self._items))] = payload.get("item") or {}
        elif kind == "error":
            self._fail(read_error(payload, 0))
        elif kind in STATUSES:
            whole = self._finish(STATUSES[kind], payload.get("response") or {})
            if whole is not payload.get("response") and not self._untouched:
                frame = encode(kind, orjson.dumps(payload | {"response": whole}))
        elif isinstance(kind, str) and kind.startswith("codex.") and not self._untouched:
            return b""
        return self.naming(frame) if "response" in payload else frame

    def _finish(self, status: str, told: Json) -> Json:
        """The response as it should have been told: the very same object if it was."""
        self.finished = True
        items = [self._items[index] for index in sorted(self._items)]
        whole = told
        if "object" not in told or (items and not told.get("output")):
            said = {name: value for name, value in told.items() if value is not None}
            whole = self._begun | {"status": status} | said | {"output": told.get("output") or items}
        if status in {"failed", "cancelled"}:
            self._fail(read_error({"error": told.get("error") or {"message": f"The response was {status}."}}, 0))
        else:
            self.response = whole
            note_response(self.record, whole)
        return whole

    def _fail(self, fail: Fail) -> None:
        self.finished, self.failed = True, fail
        self.record.error_kind, self.record.error_message = fail.code or "upstream", fail.message[:500]


def frames(data: bytes) -> Iterator[bytes]:
    """`data` cut behind every blank line, whatever its lines end in."""
    start = 0
    for end in FRAME_END.finditer(data):
        yield data[start : end.end()]
        start = end.end()
    if start < len(data):
        yield data[start:]


def payload_of(frame: bytes) -> dict[str, Any]:
    lines = [line[5:].strip() for line in frame.splitlines() if line.startswith(b"data:")]
    try:
        payload = orjson.loads(b"\n".join(lines))
    except orjson.JSONDecodeError:
        return {}
    return payload if isinstance(payload, dict) else {}


def note_response(record: AccessRecord, response: Json) -> None:
    """What a whole response says of its model, its end and its cost."""
    usage = response.get("usage") or {}
    details = usage.get("input_tokens_details") or {}
    read, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    record.model = response.get("model") or record.model
    record.cache_read_tokens, record.cache_write_tokens = read, written
    record.tokens_input = max(0, (usage.get("input_tokens") or 0) - read - written)
    record.tokens_output = usage.get("output_tokens") or 0
    record.reasoning_tokens = (usage.get("output_tokens_details") or {}).get("reasoning_tokens") or 0
    cause = (response.get("incomplete_details") or {}).get("reason")
    called = any(item.get("type") in CALLS for item in response.get("output") or [])
    ended = StopReason.TOOL_USE if called else StopReason.END_TURN
    record.stop_reason = CUT_SHORT.get(str(cause), ended).value


def note_whole_response(record: AccessRecord, body: bytes) -> None:
    """A whole reply as it came: a response, or an error."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    if not isinstance(document, dict):
        return
    if document.get("error"):
        fail = read_error(document, record.status_code or 502)
        record.error_kind, record.error_message = fail.code or "refused", fail.message[:500]
    elif document.get("object") == "response":
        note_response(record, document)
