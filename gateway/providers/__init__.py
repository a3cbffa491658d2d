"""The providers, one file each: a provider turns a prepared request into a status, headers and
chunks.

The differences between providers (credentials, headers, addresses) live there; all common code
lives in the exchange.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.capture.taking import Taking
from gateway.metering.quota import QuotaWatch
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.peek import parse_object
from gateway.server.asgi import Headers
from gateway.server.guard import Caller
from gateway.server.tracing import UNTRACED, Trace
from gateway.waiting.hold import Hold
from shared.accounts.account import Account
from shared.accounts.login import Authorization
from shared.accounts.tokens import allows_model
from shared.bus.channels import AccessRecord, ManagedTurn
from shared.formats.ir import Json
from shared.formats.registry import ProviderFormat
from shared.runtime.errors import NotAllowed, UpstreamError
from shared.runtime.exact_json import dump_json

MAX_REPLY_BYTES = 64 * 1024 * 1024  # real replies, images included, stay below a tenth of this


@dataclass(slots=True)
class Outgoing:
    """A request on its way to a provider: the caller's own headers, and the body as it arrived.

    `document` is the parsed body, if known. `rewrite` replaces both; the provider calls
    `serialised` for the bytes to send, so however often a request is rewritten, it becomes bytes
    once. `path` begins behind the provider's base address and
    keeps the caller's query. `session` is the conversation that the caller named, `path_session`
    the conversation named in the address.

    `upload` is a body passed on in pieces and read once, so the request cannot be sent twice.
    `spends` is False for a request that uses no part of a subscription. `origin` is the scheme and
    host by which the caller addressed the gateway, where needed. `active` is the active request;
    the provider sets its time limit and the reason for a silence. `allowed_models` are the patterns
    of the models that the caller's token allows, none for all. `sent` is the document that the
    provider got where it is neither `document` nor the body.

    `client_headers` are the headers as they arrived, also after a translation, and `caller` is who
    sent the request. `hold` is set for a request that may be held. `taking` keeps the request and
    its answer while the owner has switched that on.
    `managed` belongs to a turn of a managed session.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    record: AccessRecord
    document: Json | None = None
    session: str = ""
    path_session: str = ""
    trace: Trace = UNTRACED
    upload: AsyncIterator[bytes] | None = None
    spends: bool = True
    origin: str = ""
    active: ActiveRequest | None = None
    is_rewritten: bool = False
    allowed_models: tuple[str, ...] = ()
    sent: Json | None = None
    client_headers: dict[bytes, bytes] | None = None
    caller: Caller | None = None
    hold: Hold | None = None
    is_packed: bool = False
    taking: Taking | None = None
    managed: ManagedTurn | None = None

    def permit(self, model: str) -> None:
        """Raise NotAllowed if the caller's token does not allow `model`, the answering model."""
        if not allows_model(self.allowed_models, model):
            raise NotAllowed(
                f"The token {self.record.caller!r} may not use the model {model!r}; it may use "
                f"{', '.join(self.allowed_models)}."
            )

    def parsed(self) -> Json:
        """Return the body as a JSON object, parsed once. Raises ClientError for other bodies."""
        if self.document is None:
            self.document = parse_object(self.body)
        return self.document

    def rewrite(self, document: Json) -> None:
        """Replace the body by `document`; the original body is given up."""
        self.document = document
        self.body = b""
        self.is_rewritten = True

    def readable(self) -> bytes:
        """Return the client's body for a capture; the fields of a parsed form as JSON."""
        return self.body if self.body or not self.document else dump_json(self.document)

    def note_sent(self, address: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Have the capture, if any, keep the request to the provider; None stands for a body passed
        on in pieces.
        """
        if self.taking is not None:
            self.taking.note_sent(self.method, address, headers, body)

    def watched(self, opened: Opened) -> Opened:
        """Return the answer `opened`; the capture, if any, keeps the answer as it passes."""
        if self.taking is not None:
            opened.chunks = self.taking.watch_answer(opened.status, opened.headers, opened.chunks)
        return opened

    def serialised(self) -> bytes:
        """Return the bytes to send: the original body, or the newest document in JSON."""
        if self.is_rewritten:
            self.body = dump_json(self.document)
            self.is_rewritten = False
        return self.body

    def pack(self) -> None:
        """Keep the bytes of the body only, for a long wait."""
        self.serialised()
        self.is_packed = self.document is not None
        self.document = None
        self.sent = None

    def unpack(self) -> None:
        """Parse the body again if `pack` gave up a parsed body."""
        if self.is_packed:
            self.parsed()


@dataclass(slots=True)
class Opened:
    """An answer already begun. `headers` are the headers for the client; `aclose` drops the rest of
    the answer.
    """

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]

    @property
    def is_stream(self) -> bool:
        return any(
            name == b"content-type" and value.startswith(b"text/event-stream")
            for name, value in self.headers
        )

    async def read(self) -> bytes:
        """Return all of the answer. Raises UpstreamError past MAX_REPLY_BYTES."""
        return await read_limited(self.chunks)

    async def read_ahead(self) -> bytes:
        """Return all of the answer, and keep the answer to be read once more. Raises UpstreamError
        past MAX_REPLY_BYTES.
        """
        try:
            body = await self.read()
        except BaseException:
            # The answer is still open; an error must not leak it.
            await self.aclose()
            raise
        self.chunks = one_chunk(body)
        return body


async def one_chunk(body: bytes) -> AsyncIterator[bytes]:
    """Yield `body`, the whole body of an answer."""
    yield body


async def read_limited(chunks: AsyncIterator[bytes]) -> bytes:
    """Return the joined chunks of an answer. Raises UpstreamError past MAX_REPLY_BYTES."""
    pieces = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        check_reply_size(size)
        pieces.append(chunk)
    return b"".join(pieces)


async def limited(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks of an answer kept in memory. Raises UpstreamError past MAX_REPLY_BYTES."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        check_reply_size(size)
        yield chunk


def check_reply_size(size: int) -> None:
    """Raise UpstreamError for a reply of `size` bytes beyond MAX_REPLY_BYTES."""
    if size > MAX_REPLY_BYTES:
        raise UpstreamError(
            f"The provider's reply is larger than the {MAX_REPLY_BYTES:,} bytes accepted here."
        )


class Provider(Protocol):
    """A provider of models. `name` is the label in logs and metrics; `speaks` is the format of the
    provider's requests.
    """

    name: str
    catalogue: Catalogue

    @property
    def speaks(self) -> ProviderFormat: ...

    async def open(self, request: Outgoing) -> Opened: ...


async def send_authorized(
    request: Outgoing,
    account: Account,
    quota: QuotaWatch,
    send: Callable[[Outgoing, Authorization], Awaitable[Opened]],
) -> Opened:
    """Send with the owner's credential; after a 401 once more, if there is another credential by
    then.

    Raises the errors of `Account.authorize`: the owner's login is not the provider's refusal.
    Raises QuotaReached.
    """
    authorization = await account.authorize()
    # Noted before the check, because only requests on the subscription are limited.
    request.record.billed_to = authorization.billed_to
    if request.spends:
        quota.admit(request.record)
    request.trace.attempt(request.record)
    opened = request.watched(await send(request, authorization))
    if opened.status != 401:
        quota.learn(request.record, opened.headers)
        return opened
    try:
        renewed = await account.on_unauthorized(authorization)
    except BaseException:
        # The refusal is still open while the credential is renewed; an error must not leak it.
        await opened.aclose()
        raise
    # The refusal is the answer when there is no other credential, and when the body was an upload,
    # whose bytes are gone.
    if renewed is None or request.upload is not None:
        return opened
    await opened.aclose()
    request.record.retries += 1
    request.record.billed_to = renewed.billed_to
    request.trace.attempt(request.record)
    opened = request.watched(await send(request, renewed))
    quota.learn(request.record, opened.headers)
    return opened
