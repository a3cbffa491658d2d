"""An exchange between two formats: the prompt goes out in the provider's, its events come back in
the client's.

The provider is always asked to stream; a client that wants the whole reply gets the same events,
folded. A refusal keeps the provider's status, words and limits, in the client's envelope.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway.providers import Opened, Outgoing, limited
from gateway.providers.refusals import parse_refusal_body
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.ignored import note_ignored, with_ignored
from gateway.proxy.reasoning import ReasoningMemory
from gateway.proxy.relay import (
    COMMENT_PING,
    MESSAGES_PING,
    StreamHead,
    relay_stream,
    send_whole,
)
from gateway.proxy.stored.continuation import Continuations
from gateway.proxy.translation import Translation
from gateway.server.asgi import Headers, Send
from gateway.server.problems import passed_refusal
from shared.formats.ir import Fail, Prompt
from shared.formats.registry import FORMATS
from shared.runtime.errors import CCProxyError, UpstreamRefused
from shared.runtime.exact_json import dump_json

# The only caller's headers with a meaning for a provider of another format.
KEPT_HEADERS = frozenset(
    b"anthropic-beta session_id session-id x-session-id x-claude-code-session-id thread-id "
    b"conversation_id "
    b"x-ccproxy-cwd x-ccproxy-sdk-messages x-ccproxy-worker".split()
)


@dataclass(slots=True)
class Translated(Exchange):
    """An exchange between two formats. `options` are the options of the client format's writer.

    `memory` keeps reasoning that the client's format cannot carry. `cache` is how long a prompt is
    asked to be cached whose format has no word for it: OpenAI's clients expect that a
    conversation's unchanged beginning is not paid for again.
    """

    cache: str | None = None
    memory: ReasoningMemory | None = None
    continuations: Continuations | None = None
    options: dict[str, Any] = field(default_factory=dict)

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        with active:
            translation = await self._prepare(request)
            opened = await self.open(request, active)
            # The reply is folded in memory, also for a stream.
            opened.chunks = limited(opened.chunks)
        headers = client_headers(opened, request)
        if opened.status >= 400 or not translation.prompt.stream:
            try:
                with active:
                    whole = await self._read_whole(translation, opened, active)
            finally:
                await opened.aclose()
            await self._settle(translation)
            await send_whole(200, [*headers, (b"content-type", b"application/json")], whole, send)
            return None
        opened.headers = [*headers, (b"content-type", b"text/event-stream; charset=utf-8")]
        ping = MESSAGES_PING if self.dialect == "anthropic" else COMMENT_PING
        begin = partial(begin_stream, translation, opened, active)
        settle = partial(self._settle, translation)
        return await relay_stream(
            opened, send, active, translation, translation.fail, ping, begin, settle
        )

    async def _settle(self, translation: Translation) -> None:
        """Store the state needed by the next turn, before the client can begin the next turn. A
        turn that failed leaves nothing to be continued.
        """
        if translation.failed is not None:
            return
        if translation.continuation is not None:
            await translation.continuation.keep(translation.write_whole())
        if self.memory is not None:
            await self.memory.keep(translation.record.caller, translation.result())

    async def _prepare(self, request: Outgoing) -> Translation:
        """Return the translation, with the request put into the provider's format; lost fields are
        named in the record.
        """
        client = FORMATS[self.dialect]
        provider = self.provider.speaks
        record = request.record
        continuation = None
        options = self.options
        # The stored context first: only a complete conversation can be translated.
        if self.continuations is not None:
            continuation = await self.continuations.complete(
                request, session=self._continued_session(request)
            )
        if continuation is not None:
            options = options | {"echo": continuation.echo}
        prompt = client.read_prompt(request.parsed())
        model = await self.provider.catalogue.resolve(prompt.model)
        request.permit(model)
        # `asked` is the provider's prompt. The reply is written from `prompt`, with the names the
        # client used.
        asked: Prompt = replace(prompt, model=model, cache=prompt.cache or self.cache)
        if self.memory is not None:
            asked = await self.memory.restore(record.caller, asked)
        written = provider.write_prompt(asked, await self.provider.catalogue.capabilities(model))
        note_ignored(record, written.dropped)
        # From here on the request is the provider's: body, headers and content type change
        # together.
        request.rewrite(written.body)
        request.headers = {
            name: value for name, value in request.headers.items() if name in KEPT_HEADERS
        }
        request.headers[b"content-type"] = b"application/json"
        token = record.request_id.removeprefix("req_")
        created = int(time.time())
        return Translation(client, provider, prompt, record, token, created, options, continuation)

    def _continued_session(self, request: Outgoing) -> str:
        """Return the session whose last response the request continues. The workers of `/sdk`
        continue sessions without help.
        """
        return "" if self.provider.name == "sdk" else request.path_session

    async def _read_whole(
        self, translation: Translation, opened: Opened, active: ActiveRequest
    ) -> bytes:
        """Return the whole reply. Raises UpstreamRefused for a refusal and for a failed reply."""
        if opened.status >= 400:
            body = await opened.read()
            raise translated_refusal(
                translation,
                self.provider.speaks.read_error(parse_refusal_body(body), opened.status),
                opened.headers,
            )
        async for chunk in opened.chunks:
            translation.feed(chunk)
            active.note_answer(is_begun=translation.begun)
            check_failed(translation, opened)
        translation.end()
        check_failed(translation, opened)
        return dump_json(translation.write_whole())


async def begin_stream(
    translation: Translation, opened: Opened, active: ActiveRequest, head: StreamHead
) -> bytes:
    """Return the first bytes of a stream. Raises UpstreamRefused for a stream that begins with a
    failure, as long as the failure can have its own status.
    """
    async for chunk in opened.chunks:
        ready = translation.feed(chunk)
        active.note_answer(is_begun=translation.begun)
        # After a ping has taken the head along, a failure is an event of the stream.
        if head.has_left:
            return ready
        check_failed(translation, opened)
        if ready:
            return ready
    if head.has_left:
        return b""
    rest = translation.end()
    check_failed(translation, opened)
    return rest


def check_failed(translation: Translation, opened: Opened) -> None:
    """Raise UpstreamRefused for a reply that has failed."""
    if translation.failed is not None:
        raise translated_refusal(translation, translation.failed, opened.headers)


def translated_refusal(translation: Translation, fail: Fail, headers: Headers) -> UpstreamRefused:
    """Return the provider's refusal in the client's envelope, with the status and the limits."""
    record = translation.record
    record.error_kind = fail.code or "refused"
    record.error_message = fail.message[:500]
    body = dump_json(translation.client.write_error(fail, request_id=record.request_id))
    return passed_refusal(fail, body, headers)


def client_headers(opened: Opened, request: Outgoing) -> Headers:
    headers = [(name, value) for name, value in opened.headers if name != b"content-type"]
    return with_ignored(headers, request.record)
