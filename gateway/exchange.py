"""The centre: one request in a client's format, answered by a provider.

Same format on both sides: the bytes pass through, in both directions; the body is read once, for its model. An error
before the first byte is a response with its own status, after it an event of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.asgi import Headers, Receive, Scope, Send, read_body
from gateway.inflight import Flights, InFlight
from gateway.peek import peek
from gateway.problems import Dialect, error_frame, render, respond
from gateway.providers import Opened, Outgoing, Provider
from gateway.relay import MESSAGES_PING, relay_stream, relay_whole
from gateway.tap import MessagesTap, note_whole_message
from shared.channels import AccessRecord
from shared.errors import CallerGone, CCProxyError


@dataclass(slots=True)
class Exchange:
    """An ASGI endpoint: `dialect` is the client's format, `path` the provider's address for it."""

    dialect: Dialect
    provider: Provider
    path: str
    flights: Flights
    max_body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: AccessRecord = scope["ccproxy.record"]
        record.provider, record.client_format, record.service_type = (
            self.provider.name,
            self.dialect,
            self.provider.name,
        )
        flight = self.flights.open()
        try:
            failure = await self._exchange(scope, receive, send, flight, record)
        except CCProxyError as error:
            failure = error
            if not isinstance(error, CallerGone):
                await respond(render(error, self.dialect, record.request_id), send)
        finally:
            self.flights.close(flight)
        if failure is not None:
            note_failure(record, failure)

    async def _exchange(
        self, scope: Scope, receive: Receive, send: Send, flight: InFlight, record: AccessRecord
    ) -> CCProxyError | None:
        with flight:
            request = await self._read(scope, receive, record)
            flight.receive = receive
            opened = await self.provider.open(request)
        return await self._answer(opened, send, flight, record)

    async def _read(self, scope: Scope, receive: Receive, record: AccessRecord) -> Outgoing:
        headers: dict[bytes, bytes] = scope["ccproxy.headers"]
        body = await read_body(receive, headers, self.max_body_bytes)
        record.bytes_in = len(body)
        seen = await peek(body)
        record.model, record.streaming = seen.model, seen.stream
        query = scope["query_string"]
        path = f"{self.path}?{query.decode('latin-1')}" if query else self.path
        return Outgoing(scope["method"], path, headers, body, record, seen.document)

    async def _answer(self, opened: Opened, send: Send, flight: InFlight, record: AccessRecord) -> CCProxyError | None:
        note_upstream(record, opened.headers)
        flight.limit = self.flights.patience.idle
        flight.touch()
        if not opened.is_stream:
            note_whole_message(record, await relay_whole(opened, send, flight))
            return None

        def write_error(error: CCProxyError) -> bytes:
            return error_frame(error, self.dialect, record.request_id)

        return await relay_stream(opened, send, flight, MessagesTap(record), write_error, MESSAGES_PING)


def note_upstream(record: AccessRecord, headers: Headers) -> None:
    for name, value in headers:
        if name == b"request-id":
            record.upstream_request_id = value.decode("latin-1")


def note_failure(record: AccessRecord, failure: CCProxyError) -> None:
    """What ended the request early; a failure in mid-stream keeps the status that was already sent."""
    record.error_kind, record.error_message = failure.kind, failure.message[:500]
    if isinstance(failure, CallerGone):
        record.status_code = failure.status
