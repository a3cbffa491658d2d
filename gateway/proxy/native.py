"""A Responses client on a Responses provider: the stream passed on, or folded into a whole
response.

The ChatGPT backend only streams, so a whole reply is put together here from the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from gateway.providers import Opened, Outgoing, limited
from gateway.providers.codex import is_codexs_own
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.exchange import Exchange, note_served
from gateway.proxy.ignored import with_ignored
from gateway.proxy.relay import COMMENT_PING, relay_stream, relay_whole, send_whole
from gateway.proxy.rename import rename, renamed
from gateway.proxy.responses_tap import ResponsesTap, note_whole_response
from gateway.proxy.stored.continuation import Continuation, Continuations
from gateway.server.asgi import Send
from gateway.server.problems import error_frame, passed_refusal
from shared.formats.ir import Json
from shared.formats.responses import write_error
from shared.formats.responses.request_in import ENCRYPTED_REASONING
from shared.formats.responses.settings import with_settings
from shared.runtime.errors import CCProxyError, UpstreamError
from shared.runtime.exact_json import dump_json, load_json


@dataclass(slots=True)
class NativeResponses(Exchange):
    """An exchange between a Responses client and a Responses provider. Bytes pass unchanged in both
    directions where no change is needed.
    """

    continuations: Continuations | None = None

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        record = request.record
        asked = request.record.model
        streamed = request.record.streaming
        with active:
            continuation = await self._continue(request)
            model = await self.rename(request)
            opened = await self.open(request, active)
        aliased = model != asked and opened.status < 400
        opened.headers = with_ignored(opened.headers, request.record)
        if not opened.is_stream:
            record.status_code = opened.status
            opened.chunks = renamed(opened.chunks, model, asked) if aliased else opened.chunks
            if continuation is not None and opened.status < 400:
                await self._send_stored(opened, continuation, send, request, active)
                return None
            note_whole_response(record, await relay_whole(opened, send, active))
            note_served(record, model, asked)
            return None
        naming = partial(rename, answered=model, asked=asked) if aliased else bytes
        opened.chunks = limited(opened.chunks)  # the tap keeps the items of the response
        echo = continuation.echo if continuation is not None else None
        # A response with fields about its storage is never untouched: every event with a response
        # shows the fields, to a Codex program too.
        tap = ResponsesTap(
            record, untouched=is_codexs_own(request) and not echo, naming=naming, echo=echo
        )

        async def keep() -> None:
            if continuation is not None and tap.response:
                # Stored as the client sees the response: with its settings, and the model's asked
                # name.
                await continuation.keep(
                    load_json(tap.naming(dump_json(with_settings(tap.response))))
                )

        if not streamed:
            await self._send_folded(opened, tap, send, active, keep)
            return None
        write_late_error = partial(error_frame, dialect=self.dialect, request_id=record.request_id)
        return await relay_stream(
            opened, send, active, tap, write_late_error, COMMENT_PING, settle=keep
        )

    async def _continue(self, request: Outgoing) -> Continuation | None:
        """Complete a request that names stored responses or items; the provider is asked to store
        no response.
        """
        background = request.parsed().get("background")
        if self.continuations is None or background:
            return None  # background responses (API key only) are stored at OpenAI
        continuation = await self.continuations.complete(request, session=request.path_session)
        if continuation is not None:
            request.rewrite(unstored(continuation.document))
        return continuation

    async def _send_stored(
        self,
        opened: Opened,
        continuation: Continuation,
        send: Send,
        request: Outgoing,
        active: ActiveRequest,
    ) -> None:
        """Store a whole reply, and send the reply with the fields about its storage."""
        try:
            with active:
                body = await opened.read()
        finally:
            await opened.aclose()
        note_whole_response(request.record, body)
        response = parse_reply(body)
        if response:
            response |= continuation.echo
            await continuation.keep(response)
            body = dump_json(response)
        await send_whole(opened.status, opened.headers, body, send)

    async def _send_folded(
        self,
        opened: Opened,
        tap: ResponsesTap,
        send: Send,
        active: ActiveRequest,
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        """Send the folded stream as a whole response. Raises UpstreamRefused for a failed response,
        UpstreamError for a stream that broke off.
        """
        try:
            with active:
                async for chunk in opened.chunks:
                    tap.feed(chunk)
                    active.note_answer(is_begun=tap.begun)
                tap.end()
        finally:
            await opened.aclose()
        headers = [(name, value) for name, value in opened.headers if name != b"content-type"]
        if tap.failed is not None:
            raise passed_refusal(tap.failed, dump_json(write_error(tap.failed)), headers)
        if not tap.finished:
            raise UpstreamError("The provider's stream ended before its last event.")
        # Stored before the client can name the response in its next request.
        await keep()
        whole = tap.naming(dump_json(with_settings(tap.response)))
        await send_whole(200, [*headers, (b"content-type", b"application/json")], whole, send)


def unstored(document: Json) -> Json:
    """Return `document` with the request to store no response, and to send the reasoning for the
    next turn.
    """
    include = document.get("include") or []
    if isinstance(include, list) and ENCRYPTED_REASONING not in include:
        include = [*include, ENCRYPTED_REASONING]
    return document | {"store": False, "include": include}


def parse_reply(body: bytes) -> Json:
    """Return a provider's whole reply as an object; an empty object for a reply that is no JSON
    object.
    """
    try:
        response = load_json(body)
    except json.JSONDecodeError:
        return {}
    return response if isinstance(response, dict) else {}
