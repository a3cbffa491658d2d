"""A response that stays open ends with its client, with its process, or with what it waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.server.asgi import Scope
from gateway.server.context import KEY, RequestContext
from gateway.server.live import Live
from gateway.server.tracing import UNTRACED
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable, CCProxyError, Stopping
from tests.unit.gateway.conftest import idle_ledger


class Client:
    """The two callables of ASGI: what was sent, and somebody who may leave."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.got = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.got.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


def scope() -> Scope:
    record = AccessRecord("r", 0.0, method="GET")
    return {
        "type": "http",
        KEY: RequestContext(record, {}, UNTRACED, lambda _: None, idle_ledger()),
    }


class Chunks:
    """Yields `first`, then waits; knows when it was closed."""

    def __init__(self, *first: bytes, error: CCProxyError | None = None) -> None:
        self.first, self.error, self.closed = first, error, False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in self.first:
                yield chunk
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed = True


@pytest.fixture
async def active_requests() -> AsyncIterator[ActiveRequests]:
    async with ActiveRequests(Timeouts(ping=0.05, idle=0.2, first_byte=0.1)) as active_requests:
        yield active_requests


def serve(
    active_requests: ActiveRequests, chunks: AsyncGenerator[bytes, None], client: Client
) -> asyncio.Task[None]:
    live = Live(active_requests, chunks, ping=lambda: b"~", last=lambda error: error.kind.encode())
    return asyncio.create_task(live(scope(), client.receive, client.send))


async def test_silence_is_filled_and_no_limit_ends_the_wait(
    active_requests: ActiveRequests,
) -> None:
    client, chunks = Client(), Chunks(b"a")
    serving = serve(active_requests, chunks(), client)
    while client.body.count(b"~") < 6:  # longer than any limit of the provider's
        client.got.clear()
        await client.got.wait()
    assert client.body.startswith(b"a~~")
    client.left.set()
    await serving
    assert chunks.closed
    assert len(active_requests) == 0


async def test_it_ends_when_the_process_stops_with_its_last_word(
    active_requests: ActiveRequests,
) -> None:
    client, chunks = Client(), Chunks()
    serving = serve(active_requests, chunks(), client)
    await client.got.wait()
    await active_requests.stop(0)
    await serving
    assert (client.body, client.ended, chunks.closed) == (b"stopping", True, True)


async def test_after_the_stop_none_begins(active_requests: ActiveRequests) -> None:
    await active_requests.stop(0)
    client = Client()
    chunks = Chunks(b"a")()
    live = Live(active_requests, chunks, ping=lambda: b"", last=lambda error: error.kind.encode())
    # An error with a status of its own: the answer had not begun.
    with pytest.raises(Stopping):
        await live(scope(), client.receive, client.send)
    assert client.sent == []


async def test_an_error_on_the_way_has_its_last_word_too(active_requests: ActiveRequests) -> None:
    client = Client()
    await serve(active_requests, Chunks(b"a", error=BusUnavailable())(), client)
    assert (client.body, client.ended) == (b"aunavailable", True)


async def test_no_proxy_on_the_way_may_hold_it_back(active_requests: ActiveRequests) -> None:
    client = Client()
    await serve(active_requests, Chunks(error=BusUnavailable())(), client)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers


async def test_a_client_that_stops_reading_is_left_without_a_last_word(
    active_requests: ActiveRequests,
) -> None:
    client, chunks = Client(), Chunks(b"a")

    async def stuck(message: Any) -> None:
        client.sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    client.send = stuck  # type: ignore[method-assign]
    await asyncio.wait_for(serve(active_requests, chunks(), client), 5)
    assert (client.body, chunks.closed) == (b"a", True)


async def test_a_client_that_never_takes_the_end_is_left_after_the_idle_limit(
    active_requests: ActiveRequests,
) -> None:
    client, chunks = Client(), Chunks(b"a", error=BusUnavailable())

    async def stuck_at_the_end(message: Any) -> None:
        client.sent.append(message)
        if client.ended:
            await asyncio.Event().wait()

    client.send = stuck_at_the_end  # type: ignore[method-assign]
    await asyncio.wait_for(serve(active_requests, chunks(), client), 5)
    assert (client.ended, chunks.closed) == (True, True)
