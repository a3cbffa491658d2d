"""Claude through the SDK: a turn on the bus, answered by any worker with Anthropic frames.

For the rest of the gateway it looks like an HTTP provider. The first reply says who works on the turn, the last what
it came to; everything between goes on as it is. Leaving early cancels the turn where it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson

from gateway.catalogue import Catalogue
from gateway.ignored import note_ignored, with_ignored
from gateway.peek import parse_object
from gateway.providers import Opened, Outgoing
from gateway.quota import QuotaWatch
from shared.bus import Bus, Call
from shared.channels import SDK_TURN, AccessRecord, Turn, TurnHead, TurnTail, decode
from shared.errors import UpstreamError, UpstreamRefused
from shared.formats import ProviderFormat, anthropic
from shared.formats.anthropic_whole import WholeMessage
from shared.formats.sse import Parser

DIRECTORY_HEADER = b"x-ccproxy-cwd"


class Sdk:
    """Provider of the Messages format over the bus."""

    name = "sdk"
    speaks: ProviderFormat = anthropic

    def __init__(self, bus: Bus, catalogue: Catalogue, quota: QuotaWatch) -> None:
        self.catalogue = catalogue
        self._bus = bus
        self._quota = quota
        self._lane = "unknown"  # until a worker has told what its programs use

    async def open(self, request: Outgoing) -> Opened:
        """Place the turn and wait for its first frame, so that a refusal still has its own status. Raises
        QuotaReached."""
        document = request.document or parse_object(request.body)
        record = request.record
        record.lane = self._lane
        self._quota.admit(record)
        record.session_id = request.session or _told(document, "session_id")  # a large body is parsed only here
        directory = request.headers.get(DIRECTORY_HEADER, b"").decode("utf-8", "replace") or _told(document, "cwd")
        turn = Turn(record.request_id, document, record.caller, record.session_id or None, directory or None)
        turn.traceparent = request.trace.attempt(record)
        async with AsyncExitStack() as stack:
            replies = await stack.enter_async_context(self._bus.call(SDK_TURN, turn, request_id=record.request_id))
            frames = _frames(replies, record)
            first = await anext(frames, b"")
            if not first:
                raise UpstreamError("The SDK worker ended the turn without an answer.")
            self._lane = record.lane
            headers = with_ignored([(b"content-type", b"text/event-stream; charset=utf-8")], record)
            held = stack.pop_all()
        opened = Opened(200, headers, _with_first(first, frames), held.aclose)
        return opened if document.get("stream") is True else await _whole(opened)


def _told(document: dict[str, Any], name: str) -> str:
    """A word of the caller's in the request's metadata."""
    metadata = document.get("metadata")
    told = metadata.get(name) if isinstance(metadata, dict) else None
    return told if isinstance(told, str) else ""


async def _frames(replies: Call, record: AccessRecord) -> AsyncIterator[bytes]:
    """The turn's frames; its head and its tail are noted in the record."""
    async for reply in replies:
        if not reply.startswith(b"{"):
            yield reply
        elif b'"worker"' in reply:
            head = decode(TurnHead, reply)
            record.worker, record.queue_ms, record.lane = head.worker, head.queue_ms, head.lane
            note_ignored(record, head.ignored)
            record.session_id = head.session_id or record.session_id
        else:
            tail = decode(TurnTail, reply)
            record.cost_sdk_usd, record.num_turns, record.worker_ms = tail.cost_usd, tail.num_turns, tail.worker_ms


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for frame in rest:
        yield frame


async def _whole(opened: Opened) -> Opened:
    """The stream folded into one message. An error in mid-stream becomes an error response."""
    parser, whole = Parser(), WholeMessage()
    try:
        async for chunk in opened.chunks:
            for event in parser.feed(chunk):
                whole.feed(orjson.loads(event.data))
    finally:
        await opened.aclose()
    if whole.error is not None:
        raise UpstreamRefused(status=502, body=orjson.dumps(whole.error))
    if not whole.stopped:
        raise UpstreamError("The turn ended before its last event.")
    headers = [(b"content-type", b"application/json"), *opened.headers[1:]]
    return Opened(200, headers, _with_first(orjson.dumps(whole.message), _nothing()), opened.aclose)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
