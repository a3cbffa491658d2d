"""One request and its reply on an ASGI wire."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.exchange import Left, SimulatedExchange

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/messages",
    "query_string": b"beta=true",
    "headers": [(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")],
}


class Wire:
    def __init__(self, *incoming: dict[str, Any]) -> None:
        self.incoming = list(incoming)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return self.incoming.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def on(wire: Wire) -> SimulatedExchange:
    return SimulatedExchange(SCOPE, wire.receive, wire.send)


async def test_a_body_in_pieces_is_kept_byte_for_byte() -> None:
    wire = Wire(
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"\xff"},
    )
    exchange = on(wire)
    await exchange.read(100)
    assert exchange.record.body == b"ab\xff"
    assert exchange.record.path == "/v1/messages?beta=true"


async def test_repeated_headers_are_joined() -> None:
    assert on(Wire()).headers == {"anthropic-beta": "a, b"}


async def test_a_client_that_leaves_while_sending_is_noticed() -> None:
    wire = Wire(
        {"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}
    )
    with pytest.raises(Left):
        await on(wire).read(100)


async def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    wire = Wire(*({"type": "http.request", "body": b"abcd", "more_body": True} for _ in range(9)))
    exchange = on(wire)
    await exchange.read(10)
    assert len(exchange.record.body) == 12


async def test_departure_is_the_disconnect() -> None:
    wire = Wire({"type": "http.request"}, {"type": "http.disconnect"})
    await on(wire).departure()
    assert wire.incoming == []


async def test_a_whole_reply_carries_its_length_and_is_noted() -> None:
    wire = Wire()
    exchange = on(wire)
    exchange.front = {"server": "front"}
    await exchange.send(200, b"hello", {"content-type": "text/plain"})
    assert wire.sent[0]["headers"] == [
        (b"server", b"front"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"5"),
    ]
    assert (exchange.record.status, bytes(exchange.record.response)) == (200, b"hello")
    assert exchange.record.finished is not None


async def test_nothing_is_sent_for_an_empty_write() -> None:
    wire = Wire()
    await on(wire).write(b"")
    assert wire.sent == []
