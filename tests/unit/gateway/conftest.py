"""A whole gateway on a loopback port, in this event loop, between a scripted provider and a bus
that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway.metering.token_ledger import TokenLedger
from gateway.server.app import Gateway, open_gateway
from gateway.server.process import Server
from shared.bus.channels import encode_payload
from shared.bus.records import unpack
from shared.runtime.errors import BusUnavailable
from shared.settings.tree import Settings, load_settings

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nset-cookie: secret=1\r\nrequest-id: "
    b"req_up\r\n"
)


def frame(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


START = frame(
    "message_start",
    '{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":3}}}',
)
DELTA = frame(
    "content_block_delta",
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}',
)
END = frame(
    "message_delta",
    '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}',
) + frame("message_stop", '{"type":"message_stop"}')


@dataclass
class Connection:
    """One request as the provider received it, and the means to answer it byte by byte."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines if line)
        }

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def start_stream(self) -> None:
        await self.send(SSE_HEAD + b"transfer-encoding: chunked\r\n\r\n")

    async def answer(self, body: bytes, status: str = "200 OK", headers: bytes = b"") -> None:
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: "
            f"{len(body)}\r\n"
        ).encode()
        await self.send(head + headers + b"\r\n" + body)


Script = Callable[[Connection], Awaitable[None]]


async def no_models(connection: Connection) -> None:
    await connection.answer(b'{"data": []}')


class ScriptedProvider:
    """Answers each request with the next script and keeps what it received; lists its models as
    `listing` says.
    """

    def __init__(self) -> None:
        self.received: list[Connection] = []
        self.scripts: list[Script] = []
        self.listing: Script = no_models
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ScriptedProvider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        early = b""  # of the next request, read while waiting for the client to leave
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = early + await reader.readuntil(b"\r\n\r\n")
                connection = Connection(head, b"", writer)
                connection.body = await reader.readexactly(
                    int(connection.headers.get("content-length", 0))
                )
                if head.startswith(b"GET /v1/models"):
                    await self.listing(connection)
                    early = b""
                    continue
                self.received.append(connection)
                answering = asyncio.ensure_future(self.scripts.pop(0)(connection))
                more = asyncio.ensure_future(reader.read(1))
                await asyncio.wait([answering, more], return_when="FIRST_COMPLETED")
                if more.done():
                    early = more.result()
                    if not early:
                        connection.closed.set()
                        answering.cancel()
                        return
                else:
                    early = b""
                    more.cancel()
                    await asyncio.wait([more])
                await answering


def idle_ledger() -> TokenLedger:
    """Return a ledger that no limited token uses."""
    bus: Any = AbsentBus()
    return TokenLedger(bus, lambda _: 0.0, lambda _: None)


class AbsentBus:
    """The bus while Redis is down: every verb says so."""

    connected = False

    async def run_script(self, *_: Any) -> Any:
        raise BusUnavailable

    def call(self, *_: Any, **__: Any) -> Any:
        raise BusUnavailable

    async def publish(self, *_: Any) -> None:
        raise BusUnavailable

    async def waiting(self, _channel: Any) -> int:
        raise BusUnavailable

    async def processes(self) -> list[dict[str, Any]]:
        raise BusUnavailable

    async def scan(self, _prefix: str) -> dict[str, bytes]:
        raise BusUnavailable

    async def get(self, _key: str) -> bytes | None:
        raise BusUnavailable

    async def put(self, *_: Any, **__: Any) -> None:
        raise BusUnavailable

    async def delete(self, _key: str) -> None:
        raise BusUnavailable


class KeepingBus(AbsentBus):
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.arrived = asyncio.Condition()

    async def publish(self, _channel: Any, payload: Any) -> None:
        async with self.arrived:
            self.published += unpack(encode_payload(payload))
            self.arrived.notify_all()

    async def waiting(self, _channel: Any) -> int:
        return 0

    async def get(self, _key: str) -> bytes | None:
        return None

    async def records(self, count: int) -> list[Any]:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.published) >= count)
        return self.published


@dataclass
class Running:
    """A gateway that listens; `client` speaks to it."""

    gateway: Gateway
    client: httpx.AsyncClient
    provider: ScriptedProvider
    bus: KeepingBus
    port: int
    server: Server

    async def post(self, path: str = "/api/v1/messages", **options: Any) -> httpx.Response:
        options.setdefault("json", {"model": "claude-x", "messages": []})
        return await self.client.post(path, **options)


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start_gateway(provider: ScriptedProvider) -> AsyncIterator[Start]:
    """`await start_gateway(server={...}, bus=...)`: a running gateway; its settings point at the
    scripted provider.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(bus: KeepingBus | None = None, **overrides: Any) -> Running:
            overrides["claude"] = {"base_url": provider.url, "api_key": "sk-owner"} | overrides.get(
                "claude", {}
            )
            overrides["codex"] = {"base_url": provider.url} | overrides.get("codex", {})
            return await stack.enter_async_context(
                serve(load_settings(**overrides), bus or KeepingBus(), provider)
            )

        yield start


@contextlib.asynccontextmanager
async def serve(
    settings: Settings, bus: KeepingBus, provider: ScriptedProvider, port: int = 0
) -> AsyncIterator[Running]:
    listening = socket.create_server(("127.0.0.1", port))
    listening.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )  # asyncio, unlike uvloop, would leave it unset
    port = listening.getsockname()[1]
    async with open_gateway(settings, bus) as gateway:  # type: ignore[arg-type]
        server = Server(gateway.app, settings.server)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=10, verify=False
        ) as client:
            yield Running(gateway, client, provider, bus, port, server)
        server.should_exit = True
        await gateway.active_requests.stop(0)
        await serving
