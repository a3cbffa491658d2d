"""The fastest provider we can write: canned Messages replies from one uvloop Protocol.

The model's name picks the reply: `bench-whole` (2 kB JSON), `bench-burst` (205 events at once),
`bench-paced` (a token each 20 ms, carrying the nanosecond it left). Stamps are CLOCK_MONOTONIC,
which all processes of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

TOKENS = 200
PACED_TOKENS = 100
PACE_SECONDS = 0.02


def event(name: str, payload: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **payload})}\n\n".encode()


def delta(text: str) -> bytes:
    return event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})


USAGE = {
    "input_tokens": 412,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 90,
    "output_tokens": 1,
}
MESSAGE = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [],
}
HEAD = event(
    "message_start", {"message": {**MESSAGE, "stop_reason": None, "usage": USAGE}}
) + event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
TAIL = (
    event("content_block_stop", {"index": 0})
    + event(
        "message_delta",
        {"delta": {"stop_reason": "end_turn"}, "usage": {**USAGE, "output_tokens": TOKENS}},
    )
    + event("message_stop", {})
)
BURST = HEAD + b"".join(delta(f"word {index} ") for index in range(TOKENS)) + TAIL
WHOLE = json.dumps(
    {
        **MESSAGE,
        "content": [{"type": "text", "text": "A sentence of some length. " * 60}],
        "stop_reason": "end_turn",
        "usage": {**USAGE, "output_tokens": 400},
    }
).encode()


def response(kind: bytes, body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nrequest-id: req_bench\r\ncontent-length: "
        b"%d\r\n\r\n"
    )
    return head % (kind, len(body)) + body


WHOLE_RESPONSE = response(b"application/json", WHOLE)
WHOLE_STREAM_RESPONSE = response(
    b"text/event-stream", HEAD + delta("A sentence of some length. " * 60) + TAIL
)
BURST_RESPONSE = response(b"text/event-stream", BURST)
PACED_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Provider(asyncio.Protocol):
    """Reads requests by their content length only; one at a time per connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.startswith(b"GET "):
            self.buffer = b""
            self.answer_models()
            return
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            size = self.body_size(self.buffer[:end].lower())
            if len(self.buffer) < end + 4 + size:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            self.answer(body)

    @staticmethod
    def body_size(head: bytes) -> int:
        at = head.find(b"content-length:")
        return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0

    def answer_models(self) -> None:
        assert self.transport is not None
        self.transport.write(response(b"application/json", b'{"data": []}'))

    def answer(self, body: bytes) -> None:
        assert self.transport is not None
        if b"bench-paced" in body:
            self.sent = 0
            self.transport.write(PACED_HEAD + chunk(HEAD))
            self.next_token()
        else:
            # a translating gateway always asks for a stream; a whole reply is then one of few
            # events
            whole = WHOLE_STREAM_RESPONSE if b'"stream":true' in body else WHOLE_RESPONSE
            self.transport.write(BURST_RESPONSE if b"bench-burst" in body else whole)

    def next_token(self) -> None:
        if self.transport is None:
            return
        if self.sent == PACED_TOKENS:
            self.transport.write(chunk(TAIL) + b"0\r\n\r\n")
            return
        self.sent += 1
        self.transport.write(chunk(delta(f"@{time.monotonic_ns()}@")))
        asyncio.get_running_loop().call_later(PACE_SECONDS, self.next_token)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        Provider, "127.0.0.1", port, backlog=4096
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
