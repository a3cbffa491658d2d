"""Attacks that held in the past, kept as tables: spellings of addresses, scopes, framing, and line
ends in headers.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import quote, urlsplit

import httpx

from gateway.server.guard import EVERYTHING, OPEN_PATHS, scope_of
from tests.contract.conftest import OpenGateway

TOKENS = {scope: f"token-to-{scope}" for scope in sorted(EVERYTHING)}
SECURITY = {
    "tokens": [
        {"name": scope, "token": secret, "scopes": [scope]} for scope, secret in TOKENS.items()
    ]
}
PATHS = [
    "/api/v1/messages",
    "/api/v1/chat/completions",
    "/sdk/v1/messages",
    "/codex/responses",
    "/mcp",
    "/mcp/permission/check",
    "/permissions",
    "/permissions/x/respond",
    "/permissions/rules",
    "/logs/query",
    "/logs/reset",
    "/usage",
    "/metrics",
    "/dashboard",
    "/docs",
    "/openapi.json",
    "/sdk/sessions",
]
SILENCE_SECONDS = 0.2
METHODS = ["GET", "POST", "DELETE", "OPTIONS", "TRACE"]
SPELLINGS = {
    "as it is": lambda path: path,
    "a slash more at the end": lambda path: path + "/",
    "two slashes at the beginning": lambda path: "/" + path,
    "two slashes inside": lambda path: path.replace("/", "//"),
    "capitals": str.upper,
    "an encoded letter": lambda path: path[:-1] + f"%{ord(path[-1]):02x}",
    "an encoded slash": lambda path: "/" + path[1:].replace("/", "%2f"),
    "an open path before it": lambda path: "/health/live/.." + path,
    "an open path before it, encoded": lambda path: "/health/live/%2e%2e" + path,
    "a parameter": lambda path: path + ";/health/live",
    "a query of an open path": lambda path: path + "?/health/live",
    "a fragment": lambda path: path + "%23/health/live",
    "a NUL": lambda path: path + "%00",
    "a space": lambda path: path + "%20",
    "a backslash": lambda path: path.replace("/", "\\"),
    "the absolute form": lambda path: "http://localhost" + path,
    "the absolute form of another host": lambda path: "http://evil.example" + path,
}
TRICKS = {
    "x-original-url": "/health/live",
    "x-rewrite-url": "/health/live",
    "x-http-method-override": "GET",
    "x-forwarded-host": "localhost",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-prefix": "/health/live",
    "forwarded": "for=127.0.0.1",
    "x-api-key": "",
    "authorization": "Bearer",
    "cookie": "ccproxy=owner:9999999999:0",
}


async def send(url: str, request: bytes) -> bytes:
    """Send bytes on a connection of their own and return all that comes back within a moment of
    silence.
    """
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(request)
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65536), SILENCE_SECONDS):
            received += piece
    writer.close()
    return received


def statuses(reply: bytes) -> list[int]:
    return [int(line[9:12]) for line in reply.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


async def status_of(url: str, request: bytes) -> int:
    """Send one request that asks for the connection to be closed, and return the status of its
    answer.
    """
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(request)
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return int(line[9:12])


async def test_no_spelling_of_an_address_answers_without_a_token(
    open_gateway_at: OpenGateway,
) -> None:
    url = await open_gateway_at(security=SECURITY)
    for name, spell in SPELLINGS.items():
        for path in PATHS:
            for method in METHODS:
                request = (
                    f"{method} {spell(path)} HTTP/1.1\r\nhost: localhost\r\nconnection: "
                    "close\r\n\r\n"
                )
                status = await status_of(url, request.encode())
                assert status in {400, 401, 403}, f"{name}: {method} {path}: {status}"


async def test_no_header_stands_for_a_token(open_gateway_at: OpenGateway) -> None:
    url = await open_gateway_at(security=SECURITY)
    async with httpx.AsyncClient(base_url=url) as client:
        for name, value in TRICKS.items():
            for path in PATHS:
                reply = await client.post(path, json={}, headers={name: value})
                assert reply.status_code == 401, f"{name}: {path}"


async def test_a_token_does_what_its_scope_says_and_nothing_else(
    open_gateway_at: OpenGateway,
) -> None:
    url = await open_gateway_at(security=SECURITY)
    async with httpx.AsyncClient(base_url=url) as client:
        for path in PATHS:
            for scope, secret in TOKENS.items():
                reply = await client.request("OPTIONS", path, headers={"x-api-key": secret})
                assert (reply.status_code == 403) == (scope_of("OPTIONS", path) != scope), (
                    path,
                    scope,
                )
    assert not OPEN_PATHS & set(PATHS)


HEAD = "POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
SMUGGLED = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
# A second request hidden in the body of the first must never be answered: {name: what follows
# HEAD}.
FRAMING = {
    "length and chunks": "content-length: 5\r\ntransfer-encoding: "
    f"chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunks and length": "transfer-encoding: chunked\r\ncontent-length: "
    f"5\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "two lengths": f"content-length: 0\r\ncontent-length: 60\r\n\r\n{SMUGGLED}",
    "a list of lengths": f"content-length: 0, 60\r\n\r\n{SMUGGLED}",
    "a negative length": f"content-length: -1\r\n\r\n{SMUGGLED}",
    "a length with a sign": f"content-length: +0\r\n\r\n{SMUGGLED}",
    "a hexadecimal length": f"content-length: 0x0\r\n\r\n{SMUGGLED}",
    "chunks spelled with a space": f"transfer-encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunks behind identity": f"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "unknown coding": f"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "a chunk size beyond 64 bits": "transfer-encoding: "
    f"chunked\r\n\r\n10000000000000000\r\n{SMUGGLED}",
    "a negative chunk": f"transfer-encoding: chunked\r\n\r\n-1\r\n{SMUGGLED}",
    "a folded header": f"x: a\r\n content-length: 0\r\n\r\n{SMUGGLED}",
    "a bare line feed in a header": f"x: a\ntransfer-encoding: chunked\r\n\r\n0\n\n{SMUGGLED}",
    "a bare carriage return": f"x: a\rtransfer-encoding: chunked\r\n\r\n{SMUGGLED}",
    "a NUL in a header": f"x: a\0b\r\n\r\n{SMUGGLED}",
    "a header without a colon": f"x\r\n\r\n{SMUGGLED}",
    "a header without a name": f": x\r\n\r\n{SMUGGLED}",
}


async def test_a_request_of_doubtful_framing_hides_no_second_one(
    open_gateway_at: OpenGateway,
) -> None:
    url = await open_gateway_at()
    replies = await asyncio.gather(
        *(send(url, (HEAD + doubtful).encode()) for doubtful in FRAMING.values())
    )
    for name, reply in zip(FRAMING, replies, strict=True):
        assert statuses(reply)[:1] in ([], [400], [403]), (name, reply)
        assert b'"openapi"' not in reply, name


OTHER_PROTOCOLS = [
    "GET /openapi.json",
    "GET /openapi.json HTTP/0.9",
    "GET /openapi.json HTTP/2.0",
    "PRI * HTTP/2.0",
    "CONNECT evil.example:80 HTTP/1.1",
    "GET  HTTP/1.1",
]


async def test_another_protocol_gets_no_page(open_gateway_at: OpenGateway) -> None:
    url = await open_gateway_at(security=SECURITY)
    for line in OTHER_PROTOCOLS:
        reply = await send(url, f"{line}\r\nhost: localhost\r\n\r\n".encode())
        assert 200 not in statuses(reply), (line, reply)


LINE_ENDS = [
    "\r\nset-cookie: a=b",
    "\nset-cookie: a=b",
    "\rset-cookie: a=b",
    "\x00",
    "\u2028set-cookie: a=b",
]


async def test_a_line_end_of_a_caller_makes_no_header(open_gateway_at: OpenGateway) -> None:
    async with httpx.AsyncClient(base_url=await open_gateway_at()) as client:
        for end in LINE_ENDS:
            await try_line_end(client, end)


async def try_line_end(client: httpx.AsyncClient, end: str) -> None:
    """Send a line end wherever a caller's text could reach a header."""
    body = {"model": f"claude{end}", "max_tokens": 5, "messages": [], f"odd{end}": 1, "user": end}
    replies = [
        await client.post("/api/v1/messages", json=body),
        await client.post("/api/v1/chat/completions", json=body),
        await client.get("/permissions/x", params={"q": end}),
        await client.get("/signin", params={"next": f"/dashboard{end}"}),
        await client.get("/permissions/" + quote(end)),
    ]
    for reply in replies:
        assert "set-cookie" not in reply.headers
        assert reply.status_code != 500
