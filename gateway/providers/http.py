"""The one narrow interface to a provider over HTTP: open, status, headers, chunks, close.

aiohttp is used here and nowhere else; its exceptions become ours here. One session per process, no
limit on connections, no total timeout: the clock in `gateway/proxy/active_requests.py` keeps all
time limits.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from types import TracebackType

import aiohttp
from yarl import URL

from gateway.providers import Opened
from gateway.server.asgi import Headers
from shared.runtime.errors import UpstreamError, UpstreamTimeout

# aiohttp warns beyond this size: a larger body is written in pieces, and holds up no other stream.
WRITE_WHOLE_BYTES = 1024 * 1024
READ_BUFFER_BYTES = 256 * 1024

Body = bytes | AsyncIterator[bytes]

# Headers of a provider's answer for the client: no cookies, hop-by-hop or edge headers.
VISIBLE = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"etag",
        b"content-disposition",
    }
)
# A value with a control byte cannot be sent on.
CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
VISIBLE_PREFIXES = (b"anthropic-", b"x-ratelimit-", b"x-codex-", b"openai-")


class Upstream:
    """Connections to providers, kept alive between requests."""

    def __init__(self, *, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            # The body passes as the provider encoded it, under the header that says so.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            # With trust_env, aiohttp searches the environment for proxies at every request.
            trust_env=any(name.lower().endswith("_proxy") for name in os.environ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def open(self, method: str, url: str, headers: dict[str, str], body: Body) -> Opened:
        """Send a request and wait for the head of the answer. Raises UpstreamError or
        UpstreamTimeout.
        """
        if self._session is None:
            raise RuntimeError("open the Upstream before using it")
        data: Body | io.BytesIO = body
        if isinstance(body, bytes) and len(body) > WRITE_WHOLE_BYTES:
            data = io.BytesIO(body)
        try:
            response = await self._session.request(
                method, _parsed(url), headers=headers, data=data or None, allow_redirects=False
            )
        # Both errors are ClientErrors too, so this clause must come first.
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError) as error:
            raise UpstreamTimeout(
                f"{_parsed(url).host} could not be reached in {self._connect_timeout:g} s."
            ) from error
        except aiohttp.ClientError as error:
            raise UpstreamError(f"{_parsed(url).host} could not be reached: {error}.") from error

        async def aclose() -> None:
            # `close`, not `release`: the connection ends, because the rest of the answer may be
            # endless.
            response.close()

        try:
            shown = visible_headers(response.raw_headers)
        except UpstreamError:
            response.close()
            raise
        return Opened(response.status, shown, ReplyChunks(response), aclose)


@lru_cache(maxsize=256)
def _parsed(url: str) -> URL:
    # The address passes as the caller encoded it, not encoded a second time.
    return URL(url, encoded=True)


@lru_cache(maxsize=1024)
def _is_visible(name: bytes) -> bool:
    return name in VISIBLE or name.startswith(VISIBLE_PREFIXES)


def visible_headers(raw: tuple[tuple[bytes, bytes], ...]) -> Headers:
    """Return a provider's headers for the client. Raises UpstreamError for a value with a control
    byte.
    """
    visible = [(lower, value) for name, value in raw if _is_visible(lower := name.lower())]
    for name, value in visible:
        if CONTROL_BYTES.search(value):
            raise UpstreamError(
                f"The provider's header {name.decode('latin-1')!r} contains a control character."
            )
    return visible


class ReplyChunks:
    """The bytes of an answer, one item for every read. An iterator costs half of what an async
    generator costs, whose end the event loop has to watch.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> ReplyChunks:
        return self

    async def __anext__(self) -> bytes:
        """Return the bytes of the next read. Raises UpstreamError when the connection ends before
        the end of the answer.
        """
        try:
            chunk = await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise UpstreamError(
                f"The connection to {self._response.url.host} was cut in the middle of the answer."
            ) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk
