"""Read a request that offers a change of protocol as if the request offered none.

A client may offer another protocol with any request (RFC 9110, 7.8), as Java's HttpClient offers
HTTP/2 with its first request. llhttp stops at such a request and skips its body. Here the head is
then written anew without the offer, and a fresh parser reads the new head and all following bytes.
The callbacks come twice for such a request: a protocol ignores the first time while `is_offered`.
WebSocket's handshake keeps its `Upgrade` header, so that the gateway can refuse it by name.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools

from gateway.server.asgi import Headers

# These tokens stand in `Connection`, beside the names of other headers.
OFFER_TOKENS = frozenset({b"upgrade", b"http2-settings"})


class ParsingProtocol(Protocol):
    """The used parts of uvicorn's protocol."""

    parser: Any
    url: bytes
    headers: Headers


def open_parser(protocol: object) -> httptools.HttpRequestParser:
    """Return a parser that calls `protocol`, made as in uvicorn."""
    parser = httptools.HttpRequestParser(protocol)
    # Bytes behind a request with `Connection: close` are no error: the request is answered.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def feed(protocol: ParsingProtocol, data: bytes) -> None:
    """Parse `data` for `protocol`, and ignore offers of another protocol. Raises HttpParserError
    for anything but HTTP.
    """
    while data:
        try:
            protocol.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # llhttp has read the head only; the argument is the number of bytes of the head.
            behind_the_head = data[offer.args[0] :]
            head = head_without_offer(protocol.parser.get_method(), protocol.url, protocol.headers)
            protocol.parser = open_parser(protocol)
            data = head + behind_the_head
        else:
            return


def is_offered(parser: httptools.HttpRequestParser) -> bool:
    """Return True while `parser` reads a request that offers another protocol. CONNECT asks for a
    tunnel, no offer.
    """
    return parser.should_upgrade() and parser.get_method() != b"CONNECT"


def head_without_offer(method: bytes, url: bytes, headers: Headers) -> bytes:
    """Return the head of a request without the offer."""
    lines = [method, b" ", url, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if name == b"http2-settings" or (name == b"upgrade" and value.lower() != b"websocket"):
            continue
        kept = without_offer_tokens(value) if name == b"connection" else value
        if kept or name != b"connection":
            lines += [name, b": ", kept, b"\r\n"]
    return b"".join([*lines, b"\r\n"])


def without_offer_tokens(connection: bytes) -> bytes:
    """Return the value of a `Connection` header without the tokens of an offer."""
    tokens = [token.strip() for token in connection.split(b",")]
    return b", ".join(token for token in tokens if token and token.lower() not in OFFER_TOKENS)
