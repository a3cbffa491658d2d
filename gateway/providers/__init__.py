"""Whoever answers, one file each: a provider turns a prepared request into a status, headers and chunks.

What differs between providers (credentials, headers, addresses) lives there; what is the same lives in the exchange.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.asgi import Headers
from gateway.catalogue import Catalogue
from shared.channels import AccessRecord
from shared.formats import ProviderFormat


@dataclass(slots=True)
class Outgoing:
    """A request on its way to a provider: the caller's own headers, and a body ready to be sent.

    `document` is the parsed body when it is known. `path` begins behind the provider's base address and keeps the
    caller's query.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    record: AccessRecord
    document: dict[str, Any] | None = None


@dataclass(slots=True)
class Opened:
    """An answer that has begun. `headers` are those a client may see; `aclose` drops the rest of the answer."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]

    @property
    def is_stream(self) -> bool:
        return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers)


class Provider(Protocol):
    """`name` is its label in logs and metrics; `speaks` the format it is asked in."""

    name: str
    catalogue: Catalogue

    @property
    def speaks(self) -> ProviderFormat: ...

    async def open(self, request: Outgoing) -> Opened: ...
