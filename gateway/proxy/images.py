"""OpenAI's Images interface on `/codex`: one request of a text model with the image tool for each
image.

The Codex program knows routes of the backend that need no text model; its own requests pass there
unchanged.

A whole reply asks for its images at once; a streamed reply makes the images one after another, so
that their earlier states do not mix. A setting that the provider chose differently is named like
any other loss.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from json import JSONDecodeError

from gateway.providers import Opened, Outgoing, limited
from gateway.providers.codex import Codex, is_codexs_own
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.beside import open_and_tell
from gateway.proxy.exchange import Exchange
from gateway.proxy.ignored import note_ignored, with_ignored
from gateway.proxy.messages_tap import note_usage
from gateway.proxy.peek import parse_object
from gateway.proxy.relay import COMMENT_PING, relay_stream, relay_whole, send_whole
from gateway.proxy.sessions import session_named
from gateway.server.asgi import Receive, Scope, Send
from gateway.server.context import context_of
from gateway.server.forms import is_form, read_form
from gateway.server.problems import error_frame, passed_refusal
from shared.accounts.models import default_codex_model
from shared.bus.channels import AccessRecord
from shared.formats import ir
from shared.formats.fields import count_in, inner_object
from shared.formats.ir import Json
from shared.formats.openai_errors import read_error, write_error
from shared.formats.openai_images import (
    ImagesReader,
    ImagesRequest,
    changed_settings,
    images_usage,
    is_image_model,
    read_images_request,
    write_finished_image,
    write_images_reply,
    write_images_request,
    write_partial_image,
)
from shared.formats.sse import Parser, encode_event
from shared.formats.written import Frame
from shared.runtime.errors import CCProxyError, UpstreamError, UpstreamRefused
from shared.runtime.exact_json import BOM, dump_json, load_json

EVENT_BYTES = 64 * 1024 * 1024  # one event carries a whole image
CLIENT_FORMAT = "openai_images"
# Stops the client's retries: the prompt would be refused, and paid for, again.
NEVER_AGAIN = (b"x-should-retry", b"false")


@dataclass(slots=True)
class Images(Exchange):
    """An ASGI endpoint of the Images interface. With `edit` the requests bring images."""

    edit: bool = False

    async def _read(
        self, scope: Scope, receive: Receive, record: AccessRecord, active: ActiveRequest
    ) -> Outgoing:
        headers, body = await self._read_body(scope, receive, active)
        record.bytes_in = len(body)
        record.client_format = CLIENT_FORMAT
        kind = headers.get(b"content-type", b"").decode("latin-1")
        document = (
            await read_form(body, kind) if is_form(kind) else parse_object(body.removeprefix(BOM))
        )
        record.model = record.asked_model = str(document.get("model") or "")[:200]
        record.streaming = document.get("stream") is True
        session = record.session_id = session_named(scope, headers, document)
        trace = context_of(scope).trace
        request = Outgoing("POST", self.path, headers, b"", record, document, session, trace=trace)
        if is_codexs_own(request):
            request.body = body
        return request

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        if is_codexs_own(request):
            await self._pass(request, send, active)
            return None
        with active:
            asked = read_images_request(request.document or {}, edit=self.edit)
            note_ignored(request.record, asked.dropped)
            request.rewrite(await self._written(request, asked))
            # Opened before anything is sent: a refusal of the first image still has its own status.
            first = await self._open_one(request, active)
        if asked.stream:
            return await self._send_stream(asked, request, first, send, active)
        try:
            with active:
                readers = await self._draw_all(asked, request, first, active)
        finally:
            await first.aclose()
        await self._send_whole(asked, request, readers, first, send)
        return None

    async def _pass(self, request: Outgoing, send: Send, active: ActiveRequest) -> None:
        """Send the Codex program's own request, and the answer, unchanged."""
        assert isinstance(self.provider, Codex)
        request.permit(request.record.model)
        with active:
            opened = self.begun(
                await open_and_tell(self.provider.open_images, self.provider.speaks, request),
                request,
                active,
                whole=True,
            )
        reply = as_object(await relay_whole(opened, send, active))
        spent = inner_object(reply, "usage")
        used = ir.Usage(
            input=count_in(spent, "input_tokens"), output=count_in(spent, "output_tokens")
        )
        note_usage(request.record, used)

    async def _written(self, request: Outgoing, asked: ImagesRequest) -> Json:
        """Return the provider's request for one image, addressed to the drawing model. Raises
        NotAllowed for a model that the caller's token does not allow.
        """
        assert isinstance(self.provider, Codex)
        catalogue = self.provider.catalogue
        named = await catalogue.resolve(asked.model) if asked.model else ""
        image_model = named if is_image_model(named) else ""
        caller = named if named and not image_model else self.provider.settings.image_caller
        caller = caller or default_codex_model(await catalogue.listed())
        request.permit(image_model or caller)
        forced = not self.provider.speaks.codex  # the backend's own tools cannot be forced
        return write_images_request(asked, caller=caller, image_model=image_model, forced=forced)

    async def _open_one(self, request: Outgoing, active: ActiveRequest) -> Opened:
        """Return the stream of an image. Raises UpstreamRefused with the provider's words."""
        # A copy, because sending changes the request, and several images may be asked for at once.
        opened = await self.open(replace(request), active)
        opened.chunks = limited(opened.chunks)
        if opened.status < 400:
            return opened
        try:
            body = await opened.read()
        finally:
            await opened.aclose()
        raise passed_refusal(read_error(as_object(body), opened.status), body, opened.headers)

    async def _draw_all(
        self, asked: ImagesRequest, request: Outgoing, first: Opened, active: ActiveRequest
    ) -> list[ImagesReader]:
        """Return the readers of all images. The first failure ends the remaining streams, and is
        raised.
        """
        drawing = [asyncio.create_task(draw(first, active))]
        drawing += [
            asyncio.create_task(self._draw_another(request, active)) for _ in range(asked.count - 1)
        ]
        try:
            return await asyncio.gather(*drawing)
        finally:
            # `gather` leaves the other tasks running after a failure. Each task is cancelled and
            # awaited, so that no stream of the provider stays open.
            for task in drawing:
                task.cancel()
            await asyncio.gather(*drawing, return_exceptions=True)

    async def _draw_another(self, request: Outgoing, active: ActiveRequest) -> ImagesReader:
        opened = await self._open_one(request, active)
        try:
            return await draw(opened, active)
        finally:
            await opened.aclose()

    async def _send_whole(
        self,
        asked: ImagesRequest,
        request: Outgoing,
        readers: list[ImagesReader],
        first: Opened,
        send: Send,
    ) -> None:
        record = request.record
        note_cost(record, readers)
        images = [reader.image for reader in readers if reader.image is not None]
        note_ignored(record, changed_settings(asked, images))
        headers = with_ignored(
            [pair for pair in first.headers if pair[0] != b"content-type"], record
        )
        reply = write_images_reply(images, images_usage(readers), created=int(time.time()))
        await send_whole(
            200, [*headers, (b"content-type", b"application/json")], dump_json(reply), send
        )

    async def _send_stream(
        self,
        asked: ImagesRequest,
        request: Outgoing,
        first: Opened,
        send: Send,
        active: ActiveRequest,
    ) -> CCProxyError | None:
        """Send the images one after another. Returns the error of a stream that was cut short."""
        tap = ImagesTap(
            request.record, "image_edit" if self.edit else "image_generation", asked.count
        )
        current = first

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal current
            for number in range(asked.count):
                # The stream of the first image is open already.
                if number:
                    await current.aclose()
                    current = await self._open_one(request, active)
                tap.begin()
                async for chunk in current.chunks:
                    yield chunk
                tap.check()

        async def aclose() -> None:
            await current.aclose()

        headers = [pair for pair in first.headers if pair[0] != b"content-type"]
        headers = with_ignored(
            [*headers, (b"content-type", b"text/event-stream; charset=utf-8")], request.record
        )
        stream = Opened(200, headers, chunks(), aclose)
        return await relay_stream(
            stream, send, active, tap, write_failure(request.record), COMMENT_PING
        )


class ImagesTap:
    """Turns the streams of `count` images into events of the Images interface; `begun` with the
    first event of the first image, `finished` after the last image.
    """

    def __init__(self, record: AccessRecord, kind: str, count: int) -> None:
        self._record = record
        self._kind = kind
        self._count = count
        self._readers: list[ImagesReader] = []
        self._parser = Parser(limit=EVENT_BYTES)
        self.begun = False
        self.finished = False

    def begin(self) -> None:
        """Start to read the stream of the next image."""
        self._readers.append(ImagesReader())
        self._parser = Parser(limit=EVENT_BYTES)

    def check(self) -> None:
        """End the stream of an image. Raises UpstreamRefused or UpstreamError when the stream
        brought no image.
        """
        check_finished(self._readers[-1])

    def feed(self, chunk: bytes) -> bytes:
        """Return the events completed by `chunk`."""
        reader = self._readers[-1]
        ready = b""
        for payload in payloads(self._parser, chunk):
            self.begun = True
            was_finished = reader.finished
            reader.feed(payload)
            frames = [
                write_partial_image(told, self._kind, created=int(time.time()))
                for told in reader.partial
            ]
            if (
                reader.finished
                and not was_finished
                and reader.image is not None
                and reader.failed is None
            ):
                frames.append(self._finish(reader, reader.image))
            ready += b"".join(encode_event(frame.name, dump_json(frame.data)) for frame in frames)
        return ready

    def _finish(self, reader: ImagesReader, image: Json) -> Frame:
        note_cost(self._record, self._readers)
        self.finished = len(self._readers) == self._count
        return write_finished_image(
            image, self._kind, images_usage([reader]), created=int(time.time())
        )

    def end(self) -> bytes:
        return b""


async def draw(opened: Opened, active: ActiveRequest) -> ImagesReader:
    """Read the stream of an image to its end. Raises UpstreamRefused or UpstreamError for a stream
    without an image.
    """
    reader = ImagesReader()
    parser = Parser(limit=EVENT_BYTES)
    is_begun = False
    async for chunk in opened.chunks:
        for payload in payloads(parser, chunk):
            is_begun = True
            reader.feed(payload)
        active.note_answer(is_begun=is_begun)
    check_finished(reader)
    return reader


def payloads(parser: Parser, chunk: bytes) -> list[Json]:
    """Return the JSON objects of the events completed by `chunk`; data of any other kind comes from
    no provider.
    """
    return [found for event in parser.feed(chunk) if (found := as_object(event.data))]


def as_object(data: bytes) -> Json:
    try:
        found = load_json(data)
    except JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def check_finished(reader: ImagesReader) -> None:
    """Raise UpstreamError for a stream that broke off, UpstreamRefused for a failed stream."""
    if not reader.finished:
        raise UpstreamError("The provider's stream ended before its last event.")
    if reader.failed is not None:
        raise passed_refusal(reader.failed, dump_json(write_error(reader.failed)), [NEVER_AGAIN])


def note_cost(record: AccessRecord, readers: list[ImagesReader]) -> None:
    """Put the tokens of the model that called the tool into the record, for all images together."""
    record.model = readers[-1].model or record.model
    counts = [reader.usage for reader in readers]
    note_usage(
        record,
        ir.Usage(
            input=sum(usage.input for usage in counts),
            cache_read=sum(usage.cache_read for usage in counts),
            cache_write=sum(usage.cache_write for usage in counts),
            output=sum(usage.output for usage in counts),
            reasoning=sum(usage.reasoning for usage in counts),
        ),
    )


def write_failure(record: AccessRecord) -> Callable[[CCProxyError], bytes]:
    """Return the function that writes a failure as the last event of a stream."""

    def write(error: CCProxyError) -> bytes:
        if isinstance(error, UpstreamRefused) and (
            told := inner_object(as_object(error.body), "error")
        ):
            return encode_event("error", dump_json({"type": "error", "error": told}))
        return error_frame(error, "openai_chat", record.request_id)

    return write
