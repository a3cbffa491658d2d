"""The centre: one request in a client's format, answered by a provider.

Shared by all exchanges: the body is read once, within its limit; the client's leaving, a silent
provider and the end of this process all interrupt the request; an error before the first byte is a
response with its own status. An answer in the client's own format is passed through here, byte by
byte; `gateway/translated.py` translates all other answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.asgi import Headers, Receive, Scope, Send, read_body
from gateway.beside import open_and_tell
from gateway.decoding import decode
from gateway.ignored import note_ignored, with_ignored
from gateway.inflight import Flights, InFlight
from gateway.peek import peek
from gateway.problems import Dialect, error_frame, render, respond
from gateway.providers import Opened, Outgoing, Provider
from gateway.relay import MESSAGES_PING, relay_stream, relay_whole
from gateway.rename import renamed
from gateway.sessions import session_named
from gateway.tap import MessagesTap, note_whole_message
from shared.channels import AccessRecord
from shared.errors import CallerGone, CCProxyError
from shared.exact_json import BOM
from shared.formats.anthropic.native import MARK_BYTES, without_own_marks


@dataclass(slots=True)
class Exchange(ABC):
    """An ASGI endpoint: `dialect` is the client's format, `path` the provider's address for the
    request.
    """

    dialect: Dialect
    provider: Provider
    path: str
    flights: Flights
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: AccessRecord = scope["ccproxy.record"]
        record.provider = record.service_type = self.provider.name
        record.client_format = self.dialect
        flight = self.flights.open()
        try:
            with flight:
                request = await self._read(scope, receive, record, flight)
                # An upload reads its body later, and sets the limits by itself.
                if request.upload is None:
                    flight.begin_waiting(self.flights.patience.first_byte, receive)
            scope["ccproxy.begin"](record)
            failure = await self.answer(request, send, flight)
        except CCProxyError as error:
            failure = error
            if not isinstance(error, CallerGone):
                await respond(render(error, self.dialect, record.request_id), send)
        finally:
            self.flights.close(flight)
        if failure is not None:
            note_failure(record, failure)
            # The error's traceback holds this frame, which holds the error and, through others, the request's body.
            # Without this line all of them would wait for the garbage collector.
            failure.__traceback__ = None

    @abstractmethod
    async def answer(self, request: Outgoing, send: Send, flight: InFlight) -> CCProxyError | None:
        """Send the request to the provider and the answer to the client. Returns the error of a
        stream that was cut short.

        Raises an error while no byte was sent.
        """

    async def _read_body(self, scope: Scope, receive: Receive, flight: InFlight) -> tuple[dict[bytes, bytes], bytes]:
        """Return the request's headers and body, both without a content encoding."""
        headers: dict[bytes, bytes] = scope["ccproxy.headers"]
        body = await read_body(receive, headers, self.max_body_bytes, flight.receive_bytes)
        if encodings := headers.get(b"content-encoding"):
            body = await decode(body, encodings.decode("latin-1"), self.max_body_bytes)
            flight.receive_bytes(len(body))
            headers = {name: value for name, value in headers.items() if name != b"content-encoding"}
        return headers, body

    async def _read(self, scope: Scope, receive: Receive, record: AccessRecord, flight: InFlight) -> Outgoing:
        headers, body = await self._read_body(scope, receive, flight)
        record.bytes_in = len(body)
        body = body.removeprefix(BOM)
        seen = await peek(body)
        record.model, record.streaming = seen.model, seen.stream
        record.asked_model = seen.model
        record.agent_id = headers.get(b"x-claude-code-agent-id", b"").decode("latin-1")
        record.parent_agent_id = headers.get(b"x-claude-code-parent-agent-id", b"").decode("latin-1")
        query = scope["query_string"]
        path = f"{self.path}?{query.decode('latin-1')}" if query else self.path
        session = record.session_id = session_named(scope, headers, seen.document or {})
        named = str(scope.get("path_params", {}).get("session_id", ""))
        trace = scope["ccproxy.trace"]
        return Outgoing(scope["method"], path, headers, body, record, seen.document, session, named, trace)

    async def rename(self, request: Outgoing) -> str:
        """Return the model that will answer; the body is written anew only where the owner's
        aliases chose another.
        """
        asked = request.record.model
        model = await self.provider.catalogue.resolve(asked)
        if model != asked:
            request.rewrite(request.parsed() | {"model": model})
        return model

    async def open(self, request: Outgoing, flight: InFlight) -> Opened:
        """Return the provider's answer once begun; from then on silence is measured by the shorter
        limit.
        """
        request.flight = flight
        return self.begun(await open_and_tell(self.provider.open, self.provider.speaks, request), request, flight)

    def begun(self, opened: Opened, request: Outgoing, flight: InFlight) -> Opened:
        """Note the begun answer `opened` in the record and the clock, and return the answer."""
        note_upstream(request.record, opened.headers)
        flight.limit = self.flights.patience.idle
        flight.touch()
        return opened


class PassThrough(Exchange):
    """An exchange whose client and provider use the same format: bytes pass unchanged in both
    directions, unless the owner renamed the model.
    """

    __slots__ = ()

    async def answer(self, request: Outgoing, send: Send, flight: InFlight) -> CCProxyError | None:
        record, asked = request.record, request.record.model
        with flight:
            remove_own_marks(request)
            model = await self.rename(request)
            opened = await self.open(request, flight)
        opened.headers = with_ignored(opened.headers, record)
        if model != asked and opened.status < 400:
            opened.chunks = renamed(opened.chunks, model, asked)
        if not opened.is_stream:
            note_whole_message(record, await relay_whole(opened, send, flight))
            note_served(record, model, asked)
            return None
        write_error = partial(error_frame, dialect=self.dialect, request_id=record.request_id)
        failure = await relay_stream(opened, send, flight, MessagesTap(record), write_error, MESSAGES_PING)
        note_served(record, model, asked)
        return failure


def remove_own_marks(request: Outgoing) -> None:
    """Remove the marked blocks of another vendor's model from a request to Anthropic."""
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


def note_upstream(record: AccessRecord, headers: Headers) -> None:
    for name, value in headers:
        if name == b"request-id":
            record.upstream_request_id = value.decode("latin-1")


def note_failure(record: AccessRecord, failure: CCProxyError) -> None:
    """Note the error that ended the request early; a failure in mid-stream keeps the status already
    sent.
    """
    record.error_kind = record.error_kind or failure.kind
    record.error_message = record.error_message or failure.message[:500]
    if isinstance(failure, CallerGone):
        record.error_kind, record.status_code = failure.kind, failure.status
