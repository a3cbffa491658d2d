"""Connections and the heads of their requests, limited before anything is admitted.

The guard judges a request by its whole head. Until a head is whole, these limits hold, for clients
without a token too: the size of the head (also of trailers, chunk extensions and empty lines), the
time it may take, the connections of one address, and the connections of this process. A client past
a limit gets an answer that says so, and is disconnected. A body in progress and a reply in progress
have limits of their own (`gateway/server/asgi.py`, `gateway/proxy/active_requests.py`).
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.server.browser import RESPONSE_HEADERS
from gateway.server.forwarded import TrustedProxies, counted_address, is_loopback_address
from gateway.server.guard import MAX_HEADER_BYTES
from gateway.server.problems import dialect_of, render_error
from gateway.server.unchunked import UnchunkedCycle
from gateway.server.upgrade_offers import feed, is_offered
from shared.runtime.errors import Busy, CCProxyError, ClientError, ClientTimeout, HeadersTooLarge
from shared.runtime.log import get_log

# The time for a request head, a few packets at most. nginx allows 60, Caddy 10 if configured.
HEAD_SECONDS = 10.0
# The time a refused client has to read the answer before the connection is cut.
LINGER_SECONDS = 1.0
# The bytes a refused client may still send in LINGER_SECONDS.
LINGER_BYTES = 1024 * 1024
DESCRIPTOR_RESERVE = 128  # for files, Redis and the interpreter
UNLIMITED_CONNECTIONS = 65_536  # used when descriptors are unlimited
LOG_EVERY_SECONDS = 60.0


class Connections:
    """The number of open connections by address, and the limits of the process."""

    def __init__(self, per_address: int, proxies: TrustedProxies, most: int | None = None) -> None:
        """`most` is the limit of all connections; by default half of the descriptors this process
        may open.
        """
        self._per_address = per_address
        self._proxies = proxies
        self._most = most if most is not None else most_connections()
        self._open: Counter[str] = Counter()
        self._total = 0
        self._refused = 0
        self._log_after = 0.0
        # True once the process is about to end: every reply is then the last of its connection.
        self.leaving = False

    def admit(self, address: str) -> None:
        """Count a new connection from `address`, to be released at its end. Raises Busy past a
        limit.
        """
        # Counted before any refusal: the end of every connection, also of a refused one, is
        # released.
        self._total += 1
        key = counted_address(address)
        self._open[key] += 1
        if self._total > self._most:
            self._refuse(
                f"This server has {self._most} connections open, its limit; try again shortly.",
                address,
            )
        # Loopback and trusted proxies bring the connections of many clients, and of load tests.
        exempt = is_loopback_address(address) or self._proxies.trusts(address)
        if not exempt and self._open[key] > self._per_address:
            limit = f"{self._per_address} (SERVER__CONNECTIONS_PER_ADDRESS)"
            self._refuse(
                f"Your address has more connections open than the {limit} this server accepts.",
                address,
            )

    def release(self, address: str) -> None:
        """Count a connection from `address` as closed."""
        self._total -= 1
        key = counted_address(address)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def _refuse(self, reason: str, address: str) -> NoReturn:
        """Raise Busy, and log a line at most once in LOG_EVERY_SECONDS."""
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now >= self._log_after:
            get_log().warning(
                "connections_refused",
                reason=reason,
                address=address,
                refused=self._refused,
                open=self._total,
            )
            self._refused = 0
            self._log_after = now + LOG_EVERY_SECONDS
        raise Busy(reason, headers={"retry-after": "1"})


def most_connections() -> int:
    """Return the most connections that the process may hold: every connection may need a second
    descriptor towards a provider.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return UNLIMITED_CONNECTIONS
    return max(64, (soft - DESCRIPTOR_RESERVE) // 2)


# The states of a connection, as the limits see it:
#
#     new       no byte has come; `_waiting_since` runs
#     head      `_in_head`: `_unread` counts bytes, `_waiting_since` runs
#     body      `_in_body`: the limits of the route hold, until the reply is complete
#     idle      between two requests: uvicorn's keep-alive holds
#     refused   the answer is written: LINGER_SECONDS remain
#
# `_waiting_since` is None whenever the client owes no bytes.
class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits on an incomplete request head."""

    def __init__(self, *, limits: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._address = ""
        # Bytes since the last complete head, piece of a body or end of a request.
        self._unread = 0
        # The time since which the rest of a head is missing.
        self._waiting_since: float | None = None
        self._in_head = False
        self._in_body = False
        self._too_large = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._waiting_since = self.loop.time()
        try:
            self._limits.admit(self._address)
        except Busy as error:
            self.refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.release(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        # The rest of a refused request is read and dropped: unread bytes would reset the
        # connection, and the client would lose the answer. Beyond LINGER_BYTES the client has no
        # such claim.
        if self._refused:
            if self._unread > LINGER_BYTES:
                self.transport.pause_reading()
            return
        self._unset_keepalive_if_required()
        try:
            feed(self, data)
        except httptools.HttpParserError:
            self.send_400_response("")
        # The callbacks below have set `_unread` to 0 if any part of a request became complete.
        if self._unread > MAX_HEADER_BYTES and not self._refused:
            self.refuse(HeadersTooLarge())
        elif (self._unread or self._in_head) and self._waiting_since is None:
            self._waiting_since = self.loop.time()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unread = 0
        self._waiting_since = None
        self._in_head = False
        self._in_body = True
        if len(self.url) > MAX_HEADER_BYTES:  # the URL came in one piece with the rest of the head
            self._too_large = True
            raise HeadersTooLarge  # ends the parsing; `send_400_response` sends the error
        if is_offered(self.parser):
            return  # the same request comes once more, without its offer
        super().on_headers_complete()
        if self._limits.leaving:
            self.cycle.keep_alive = False
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = UnchunkedCycle

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._in_body = False
        self._waiting_since = None
        if not is_offered(self.parser):
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The client still sends an unread body, or half of the next head.
        if self._in_body or self._in_head or self._unread:
            self._waiting_since = self.loop.time()

    def is_idle(self) -> bool:
        """Return True if no request is being received or answered."""
        return not (self._in_head or self._in_body or self._unread) and (
            self.cycle is None or self.cycle.response_complete
        )

    def announce_end(self) -> None:
        """Make a reply that has not begun the last of the connection. A reply in progress has
        already promised to keep the connection.
        """
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()

    def check_time(self, now: float) -> None:
        """End the connection of a client that owes us bytes for HEAD_SECONDS. A request being
        answered is no debt.
        """
        answering: RequestResponseCycle | None = self.cycle
        if (
            self._waiting_since is None
            or self._refused
            or (answering and not answering.response_complete)
        ):
            return
        if now - self._waiting_since <= HEAD_SECONDS:
            return
        # A connection never used, or a refused body that does not end
        if not self._unread and not self._in_head:
            self.transport.close()
        else:
            self.refuse(
                ClientTimeout(f"The request's head did not arrive within {HEAD_SECONDS:g} seconds.")
            )

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP. Uvicorn calls the method, also after an exception in a
        callback.
        """
        self.refuse(
            HeadersTooLarge() if self._too_large else ClientError("The request is not valid HTTP.")
        )

    def refuse(self, error: CCProxyError) -> None:
        """Send `error` and end the connection. During a reply the connection is closed without a
        message.
        """
        self._refused = True
        self._unread = 0
        self.headers = []
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        # Bytes in the middle of a reply would be read as a part of the reply.
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        path = getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")
        problem = render_error(error, dialect_of(path), "")
        head = [STATUS_LINE[problem.status]]
        for name, value in [*problem.headers, *RESPONSE_HEADERS, (b"connection", b"close")]:
            head += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*head, b"\r\n", problem.body]))
        # A connection closed with unread bytes is reset, and the answer lost: let the client read
        # first.
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def check_times(connections: Iterable[Any], now: float) -> None:
    """Refuse every client among `connections` whose request head is late."""
    for connection in list(connections):
        if isinstance(connection, LimitedProtocol):
            connection.check_time(now)
