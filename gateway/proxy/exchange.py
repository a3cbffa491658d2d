"""The centre: one request in a client's format, answered by a provider.

Shared by all exchanges: the body is read once, within its limit; the client's leaving, a silent
provider and the end of this process all interrupt the request; an error before the first byte is a
response with its own status. An answer in the client's own format is passed through here, byte by
byte; `gateway/proxy/translated.py` translates all other answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from gateway.capture.taking import Taking
from gateway.providers import Opened, Outgoing, Provider
from gateway.providers.headers import note_upstream
from gateway.proxy.active_requests import ActiveRequest, ActiveRequests
from gateway.proxy.beside import open_and_tell
from gateway.proxy.ignored import note_ignored, with_ignored
from gateway.proxy.messages_tap import MessagesTap, note_whole_message
from gateway.proxy.peek import peek
from gateway.proxy.prompt_insight import note_prompt
from gateway.proxy.relay import MESSAGES_PING, relay_stream, relay_whole
from gateway.proxy.rename import renamed
from gateway.proxy.sessions import session_named
from gateway.server.asgi import Receive, Scope, Send, read_body
from gateway.server.context import RequestContext, context_of
from gateway.server.decoding import decode_body
from gateway.server.guard import Caller
from gateway.server.problems import Dialect, error_frame, render_error, respond
from gateway.waiting.hold import HOLD_HEADER, Hold, wished_seconds
from gateway.waiting.queued_provider import QueuedProvider
from shared.bus.channels import AccessRecord
from shared.formats.messages.native import MARK_BYTES, without_own_marks
from shared.runtime.errors import CallerGone, CCProxyError
from shared.runtime.exact_json import BOM


@dataclass(slots=True)
class Exchange(ABC):
    """An ASGI endpoint: `dialect` is the client's format, `path` the provider's address for the
    request.
    """

    dialect: Dialect
    provider: Provider
    path: str
    active_requests: ActiveRequests
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        record: AccessRecord = context.record
        record.provider = record.service_type = self.provider.name
        record.client_format = self.dialect
        captures = context.captures
        taking = None
        if captures is not None and (captures.is_on or context.repeats):
            taking = captures.begin(record, context.repeats)
        if captures is None or taking is None:
            await self._serve(scope, receive, send, None)
            return
        try:
            await self._serve(scope, receive, taking.watch_reply(send), taking)
        finally:
            captures.end(taking)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, taking: Taking | None
    ) -> None:
        record: AccessRecord = context_of(scope).record
        active = self.active_requests.open()
        try:
            with active:
                request = await self._read(scope, receive, record, active)
                if taking is not None:
                    request.taking = taking
                    taking.note_request(
                        request.headers, request.readable(), is_upload=request.upload is not None
                    )
                caller = context_of(scope).caller
                request.client_headers = request.headers
                request.caller = caller
                if caller is not None:
                    request.allowed_models = caller.models
                    # Most tokens have neither limits nor wishes, and cost no call.
                    has_limits = caller.limits or caller.at_once or caller.hold
                    if request.spends and (has_limits or HOLD_HEADER in request.headers):
                        await self._admit(request, caller, context_of(scope))
                # An upload reads its body later, and sets the limits by itself.
                if request.upload is None:
                    active.begin_waiting(self.active_requests.timeouts.first_byte, receive)
            # Not before the body was read: until then the record lacks model and session.
            context_of(scope).begin(record)
            failure = await self.answer(request, send, active)
            if context_of(scope).reads_prompts:
                await note_prompt(request)
        except CCProxyError as error:
            failure = error
            # A client that left cannot read an answer.
            if not isinstance(error, CallerGone):
                await respond(render_error(error, self.dialect, record.request_id), send)
        finally:
            self.active_requests.close(active)
        if failure is not None:
            note_failure(record, failure)
            # The error's traceback holds this frame, which holds the error and, through others, the
            # request's body. Without this line all of them would wait for the garbage collector.
            failure.__traceback__ = None

    async def _admit(self, request: Outgoing, caller: Caller, context: RequestContext) -> None:
        """Let the request begin by the limits of its token; one that may be held meets them later,
        in front of its provider. Raises SpendLimitReached, Busy.
        """
        admit = partial(context.ledger.admit, caller, context.record)
        seconds = wished_seconds(request.headers, caller.hold)
        if seconds and isinstance(self.provider, QueuedProvider):
            request.hold = Hold(seconds, admit)
        else:
            await admit()

    @abstractmethod
    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        """Send the request to the provider and the answer to the client. Returns the error of a
        stream that was cut short.

        Raises an error while no byte was sent.
        """

    async def _read_body(
        self, scope: Scope, receive: Receive, active: ActiveRequest
    ) -> tuple[dict[bytes, bytes], bytes]:
        """Return the request's headers and body, both without a content encoding."""
        headers: dict[bytes, bytes] = context_of(scope).headers
        body = await read_body(receive, headers, self.max_body_bytes, active.receive_bytes)
        if encodings := headers.get(b"content-encoding"):
            body = await decode_body(body, encodings.decode("latin-1"), self.max_body_bytes)
            # The unpacked body counts beside the packed one, which was in memory too until now.
            active.receive_bytes(len(body))
            headers = {
                name: value for name, value in headers.items() if name != b"content-encoding"
            }
        return headers, body

    async def _read(
        self, scope: Scope, receive: Receive, record: AccessRecord, active: ActiveRequest
    ) -> Outgoing:
        headers, body = await self._read_body(scope, receive, active)
        record.bytes_in = len(body)
        body = body.removeprefix(BOM)
        seen = await peek(body)
        record.model = seen.model
        record.streaming = seen.stream
        record.asked_model = seen.model
        record.agent_id = headers.get(b"x-claude-code-agent-id", b"").decode("latin-1")
        record.parent_agent_id = headers.get(b"x-claude-code-parent-agent-id", b"").decode(
            "latin-1"
        )
        query = scope["query_string"]
        path = f"{self.path}?{query.decode('latin-1')}" if query else self.path
        session = record.session_id = session_named(scope, headers, seen.document or {})
        named = str(scope.get("path_params", {}).get("session_id", ""))
        trace = context_of(scope).trace
        return Outgoing(
            scope["method"], path, headers, body, record, seen.document, session, named, trace
        )

    async def rename(self, request: Outgoing) -> str:
        """Return the model that will answer; the body is written anew only where the owner's
        aliases chose another. Raises NotAllowed for a model that the caller's token does not allow.
        """
        asked = request.record.model
        model = await self.provider.catalogue.resolve(asked)
        request.permit(model)
        if model != asked:
            request.rewrite(request.parsed() | {"model": model})
        return model

    async def open(
        self, request: Outgoing, active: ActiveRequest, *, whole: bool = False
    ) -> Opened:
        """Return the provider's answer once its head is here; `whole` as in `begun`."""
        request.active = active
        return self.begun(
            await open_and_tell(self.provider.open, self.provider.speaks, request),
            request,
            active,
            whole=whole,
        )

    def begun(
        self, opened: Opened, request: Outgoing, active: ActiveRequest, *, whole: bool = False
    ) -> Opened:
        """Note the head of the answer `opened` in the record, and return the answer.

        A whole answer has begun with its head, and each of its bytes is a sign of life. A stream
        begins with its first event, which the reader of its events notes. `whole`: the answer is
        passed on without a look at events, whatever its type.
        """
        note_upstream(request.record, opened.headers)
        if whole or not opened.is_stream or opened.status >= 400:
            active.note_answer()
            opened.chunks = NotedChunks(opened.chunks, active)
        return opened


class NotedChunks:
    """The pieces of a whole answer, each a sign of life: a body that flows is not idle."""

    def __init__(self, chunks: AsyncIterator[bytes], active: ActiveRequest) -> None:
        self._chunks = chunks
        self._active = active

    def __aiter__(self) -> NotedChunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self._active.touch()
        return chunk


class PassThrough(Exchange):
    """An exchange whose client and provider use the same format: bytes pass unchanged in both
    directions, unless the owner renamed the model.
    """

    __slots__ = ()

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        record = request.record
        asked = request.record.model
        with active:
            remove_own_marks(request)
            model = await self.rename(request)
            opened = await self.open(request, active)
        opened.headers = with_ignored(opened.headers, record)
        # A refusal passes untouched, because its text may name the provider's model.
        if model != asked and opened.status < 400:
            opened.chunks = renamed(opened.chunks, model, asked)
        if not opened.is_stream:
            note_whole_message(record, await relay_whole(opened, send, active))
            note_served(record, model, asked)
            return None
        write_error = partial(error_frame, dialect=self.dialect, request_id=record.request_id)
        failure = await relay_stream(
            opened, send, active, MessagesTap(record), write_error, MESSAGES_PING
        )
        note_served(record, model, asked)
        return failure


def remove_own_marks(request: Outgoing) -> None:
    """Remove the marked blocks of another vendor's model from a request to Anthropic."""
    # A search of the bytes is far cheaper than parsing, and few requests have a mark.
    if MARK_BYTES not in request.body:
        return
    document = request.parsed()
    written = without_own_marks(document)
    if written.body is not document:
        note_ignored(request.record, written.dropped)
        request.rewrite(written.body)


# Makes an endpoint of a client's format, a provider, and the provider's address.
MakeExchange = Callable[[Dialect, Provider, str], Exchange]


def note_served(record: AccessRecord, model: str, asked: str) -> None:
    """Keep the provider's name of the model where the reply was read with the client's name in its
    place.
    """
    if record.model == asked:
        record.model = model


def note_failure(record: AccessRecord, failure: CCProxyError) -> None:
    """Note the error that ended the request early; a failure in mid-stream keeps the status already
    sent.
    """
    record.error_kind = record.error_kind or failure.kind
    record.error_message = record.error_message or failure.message[:500]
    # The status that was sent, 200 perhaps, would make a request that was left look complete.
    if isinstance(failure, CallerGone):
        record.error_kind = failure.kind
        record.status_code = failure.status
