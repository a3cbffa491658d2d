"""The fastest provider we can write: canned replies from one uvloop Protocol.

The path picks the format: Responses for `…/responses`, Chat Completions for `…/chat/completions`,
Messages for all others. The model's name picks the reply: `bench-whole` (2 kB), `bench-burst` (205
events at once), `bench-paced` (a token each 20 ms, carrying the nanosecond it left). Stamps are
CLOCK_MONOTONIC, which all processes of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import uvloop

TOKENS = 200
PACED_TOKENS = 100
PACE_SECONDS = 0.02
LONGEST_HEAD = 65_536
LAST_CHUNK = b"\r\n0\r\n\r\n"
SEARCHED = 4_096


WHOLE_TEXT = "A sentence of some length. " * 60


@dataclass(frozen=True)
class Canned:
    """The replies in one format: whole responses, and the parts of a paced stream."""

    whole: bytes
    whole_stream: bytes
    burst: bytes
    head: bytes
    tail: bytes
    delta: Callable[[str], bytes]


def event(name: str, payload: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **payload})}\n\n".encode()


def response(kind: bytes, body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nrequest-id: req_bench\r\ncontent-length: "
        b"%d\r\n\r\n"
    )
    return head % (kind, len(body)) + body


def canned(head: bytes, delta: Callable[[str], bytes], tail: bytes, whole: object) -> Canned:
    """Return the replies that begin with the event `head` and end with `tail`."""
    burst = head + b"".join(delta(f"word {index} ") for index in range(TOKENS)) + tail
    return Canned(
        whole=response(b"application/json", json.dumps(whole).encode()),
        whole_stream=response(b"text/event-stream", head + delta(WHOLE_TEXT) + tail),
        burst=response(b"text/event-stream", burst),
        head=head,
        tail=tail,
        delta=delta,
    )


USAGE: dict[str, object] = {
    "input_tokens": 412,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 90,
    "output_tokens": 1,
}
MESSAGE: dict[str, object] = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [],
}


def messages_delta(text: str) -> bytes:
    return event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})


MESSAGES = canned(
    event("message_start", {"message": {**MESSAGE, "stop_reason": None, "usage": USAGE}})
    + event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    messages_delta,
    event("content_block_stop", {"index": 0})
    + event(
        "message_delta",
        {"delta": {"stop_reason": "end_turn"}, "usage": {**USAGE, "output_tokens": TOKENS}},
    )
    + event("message_stop", {}),
    {
        **MESSAGE,
        "content": [{"type": "text", "text": WHOLE_TEXT}],
        "stop_reason": "end_turn",
        "usage": {**USAGE, "output_tokens": 400},
    },
)

CHAT = {"id": "chatcmpl-bench", "created": 1_790_000_000, "model": "gpt-5.5"}
CHAT_USAGE = {"prompt_tokens": 502, "completion_tokens": TOKENS, "total_tokens": 502 + TOKENS}


def chat_chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**CHAT, "object": "chat.completion.chunk", "choices": [choice], **more}
    return f"data: {json.dumps(chunk)}\n\n".encode()


CHAT_COMPLETIONS = canned(
    chat_chunk({"role": "assistant", "content": ""}),
    lambda text: chat_chunk({"content": text}),
    chat_chunk({}, "stop", usage=CHAT_USAGE) + b"data: [DONE]\n\n",
    {
        **CHAT,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": WHOLE_TEXT},
                "finish_reason": "stop",
            }
        ],
        "usage": CHAT_USAGE,
    },
)

RESPONSE = {
    "id": "resp_bench",
    "object": "response",
    "created_at": 1_790_000_000,
    "model": "gpt-5.5",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
ITEM = {"type": "message", "id": "msg_bench", "role": "assistant"}
PLACE = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
TEXT_PART = {"type": "output_text", "text": WHOLE_TEXT, "annotations": []}
DONE_ITEM = {**ITEM, "status": "completed", "content": [TEXT_PART]}
COMPLETED = {
    **RESPONSE,
    "status": "completed",
    "output": [DONE_ITEM],
    "usage": {
        "input_tokens": 502,
        "input_tokens_details": {"cached_tokens": 90},
        "output_tokens": TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 502 + TOKENS,
    },
}


def numbered(name: str, payload: dict[str, object]) -> bytes:
    """Return an event of Responses; all have one number, which nobody here reads."""
    return event(name, {"sequence_number": 0, **payload})


RESPONSES = canned(
    numbered("response.created", {"response": {**RESPONSE, "status": "in_progress", "output": []}})
    + numbered(
        "response.output_item.added",
        {"output_index": 0, "item": {**ITEM, "status": "in_progress", "content": []}},
    )
    + numbered("response.content_part.added", {**PLACE, "part": {**TEXT_PART, "text": ""}}),
    lambda text: numbered("response.output_text.delta", {**PLACE, "delta": text, "logprobs": []}),
    numbered("response.output_text.done", {**PLACE, "text": WHOLE_TEXT, "logprobs": []})
    + numbered("response.content_part.done", {**PLACE, "part": TEXT_PART})
    + numbered("response.output_item.done", {"output_index": 0, "item": DONE_ITEM})
    + numbered("response.completed", {"response": COMPLETED}),
    COMPLETED,
)
PACED_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def format_of(request_line: bytes) -> Canned:
    """Return the replies for the path of a request."""
    if b"/responses" in request_line:
        return RESPONSES
    return CHAT_COMPLETIONS if b"/chat/completions" in request_line else MESSAGES


class Provider(asyncio.Protocol):
    """Reads requests by their content length, or to their last chunk; one at a time per
    connection.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.startswith((b"GET ", b"HEAD ")):
            self.buffer.clear()
            self.answer_models()
            return
        while (end := self.buffer.find(b"\r\n\r\n", 0, LONGEST_HEAD)) >= 0:
            head = bytes(self.buffer[:end])
            length = self.length_of(head.lower(), end + 4)
            if length is None or len(self.buffer) < length:
                return
            # A body of 20 MB is not searched; every client writes the model near one of its ends.
            body = bytes(self.buffer[end + 4 : end + 4 + SEARCHED])
            body += bytes(self.buffer[max(end + 4, length - SEARCHED) : length])
            del self.buffer[:length]
            self.answer(format_of(head.split(b"\r\n", 1)[0]), body)

    def length_of(self, head: bytes, body_at: int) -> int | None:
        """Return the length of the request with its head; None while its end has not come."""
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            return body_at + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if b"transfer-encoding: chunked" in head:
            return len(self.buffer) if self.buffer.endswith(LAST_CHUNK) else None
        return body_at

    def answer_models(self) -> None:
        assert self.transport is not None
        self.transport.write(response(b"application/json", b'{"data": []}'))

    def answer(self, replies: Canned, body: bytes) -> None:
        assert self.transport is not None
        if b"bench-paced" in body:
            self.sent = 0
            self.transport.write(PACED_HEAD + chunk(replies.head))
            self.next_token(replies)
        elif b"bench-burst" in body:
            self.transport.write(replies.burst)
        else:
            # a translating gateway always asks for a stream; a whole reply is then one of few
            # events
            streams = b'"stream":true' in body or b'"stream": true' in body
            self.transport.write(replies.whole_stream if streams else replies.whole)

    def next_token(self, replies: Canned) -> None:
        if self.transport is None:
            return
        if self.sent == PACED_TOKENS:
            self.transport.write(chunk(replies.tail) + b"0\r\n\r\n")
            return
        self.sent += 1
        self.transport.write(chunk(replies.delta(f"@{time.monotonic_ns()}@")))
        asyncio.get_running_loop().call_later(PACE_SECONDS, self.next_token, replies)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        Provider, "127.0.0.1", port, backlog=4096
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
