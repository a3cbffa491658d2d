"""A Responses client on a Responses provider: the stream as it passes, or the whole response it adds up to.

The ChatGPT backend only streams, so a whole reply is put together here from the same bytes.
"""

from __future__ import annotations

from functools import partial

import orjson

from gateway.asgi import Send
from gateway.exchange import Exchange
from gateway.ignored import with_ignored
from gateway.inflight import InFlight
from gateway.peek import parse_object
from gateway.problems import error_frame, refused
from gateway.providers import Opened, Outgoing, limited
from gateway.providers.codex import is_codexs_own
from gateway.relay import COMMENT_PING, relay_stream, relay_whole, send_whole
from gateway.rename import rename, renamed
from gateway.responses_tap import ResponsesTap, note_whole_response
from shared.errors import CCProxyError, UpstreamError
from shared.exact_json import dump_json
from shared.formats.openai_responses import write_error


class NativeResponses(Exchange):
    """Bytes pass unchanged where nothing has to change, in both directions."""

    __slots__ = ()

    async def answer(self, request: Outgoing, send: Send, flight: InFlight) -> CCProxyError | None:
        record, asked, streamed = request.record, request.record.model, request.record.streaming
        with flight:
            request.document = request.document or parse_object(request.body)
            model = await self.rename(request)
            opened = await self.open(request, flight)
        aliased = model != asked and opened.status < 400
        opened.headers = with_ignored(opened.headers, request.record)
        if not opened.is_stream:
            record.status_code = opened.status
            opened.chunks = renamed(opened.chunks, model, asked) if aliased else opened.chunks
            note_whole_response(record, await relay_whole(opened, send, flight))
            return None
        naming = partial(rename, answered=model, asked=asked) if aliased else bytes
        opened.chunks = limited(opened.chunks)  # the tap keeps the items of the response
        tap = ResponsesTap(record, untouched=is_codexs_own(request), naming=naming)
        if not streamed:
            await self._send_folded(opened, tap, send, flight)
            return None
        write_late_error = partial(error_frame, dialect=self.dialect, request_id=record.request_id)
        return await relay_stream(opened, send, flight, tap, write_late_error, COMMENT_PING)

    async def _send_folded(self, opened: Opened, tap: ResponsesTap, send: Send, flight: InFlight) -> None:
        """Raises UpstreamRefused for a response that failed, UpstreamError for one that broke off."""
        try:
            with flight:
                async for chunk in opened.chunks:
                    flight.touch()
                    tap.feed(chunk)
                tap.end()
        finally:
            await opened.aclose()
        headers = [(name, value) for name, value in opened.headers if name != b"content-type"]
        if tap.failed is not None:
            raise refused(tap.failed, orjson.dumps(write_error(tap.failed)), headers)
        if not tap.finished:
            raise UpstreamError("The provider's stream ended before its last event.")
        whole = tap.naming(dump_json(tap.response))
        await send_whole(200, [*headers, (b"content-type", b"application/json")], whole, send)
