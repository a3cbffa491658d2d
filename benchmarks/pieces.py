"""The pieces whose instructions are counted: one request on each way through a whole gateway, in
one process and without a network.

The application is the real one with everything on. A canned upstream takes the place of the
connections to the providers, and no client is connected: a request is a call of the application. So
a piece never waits, and takes the same instructions each time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.gateways import PROMPT, TOKEN
from benchmarks.upstream import MESSAGES, RESPONSES
from gateway.providers import Opened
from gateway.providers.http import Body, Upstream
from gateway.server.app import open_gateway
from gateway.server.asgi import Message, Scope
from shared.bus import Bus
from shared.runtime.exact_json import load_json
from shared.settings.tree import Settings

MODELS = {"api": "claude-sonnet-4-5", "codex": "gpt-5.5"}
# The ways of a request: the client's format is the last part of a path, the provider the first.
WAYS = {
    "/api/v1/messages": "pass-through",
    "/api/v1/chat/completions": "Chat to Messages",
    "/api/v1/responses": "Responses to Messages",
    "/codex/v1/responses": "Responses, watched",
    "/codex/v1/chat/completions": "Chat to Responses",
    "/codex/v1/messages": "Messages to Responses",
}
YARDSTICK_ROUNDS = 40

Piece = Callable[[], Awaitable[None]]


class CannedChunks:
    """The pieces of a canned answer."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> CannedChunks:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class CannedUpstream(Upstream):
    """Connections to providers that answer at once, with a stream or a whole reply of either
    provider.
    """

    def __init__(self) -> None:
        super().__init__(connect_timeout=1)
        self._replies = {"/v1/messages": MESSAGES, "/responses": RESPONSES}

    async def open(self, method: str, url: str, headers: dict[str, str], body: Body) -> Opened:
        if method == "GET":
            return answer("application/json", [b'{"data": [], "models": []}'])
        assert isinstance(body, bytes)
        [replies] = [found for path, found in self._replies.items() if url.endswith(path)]
        if json.loads(body).get("stream"):
            stream = body_in(replies.burst)
            half = len(stream) // 2
            return answer("text/event-stream", [stream[:half], stream[half:]])
        return answer("application/json", [body_in(replies.whole)])


def answer(kind: str, pieces: Iterable[bytes]) -> Opened:
    async def aclose() -> None: ...

    headers = [(b"content-type", kind.encode()), (b"request-id", b"req_bench")]
    return Opened(200, headers, CannedChunks(pieces), aclose)


def body_in(response: bytes) -> bytes:
    """Return the body of an HTTP response."""
    return response.partition(b"\r\n\r\n")[2]


def body_of(path: str, *, stream: bool) -> bytes:
    """Return a request body in the format of `path`."""
    body: dict[str, Any] = {"model": MODELS[path.split("/")[1]], "stream": stream}
    if path.endswith("/responses"):
        body["input"] = PROMPT
    else:
        body["messages"] = [{"role": "user", "content": PROMPT}]
        body["max_tokens"] = 1024
    return json.dumps(body).encode()


@asynccontextmanager
async def opened_pieces(folder: Path) -> AsyncIterator[dict[str, Piece]]:
    """Yield the pieces by name: the yardstick, and each of WAYS with a whole reply and a stream of
    203 events. `folder` is for files.
    """
    settings = Settings.model_validate(
        {
            "claude": {"api_key": "sk-ant-bench"},
            "codex": {"api_key": "sk-bench", "enable_dynamic_model_info": False},
            "security": {"auth_token": TOKEN, "tokens_file": folder / "tokens.json"},
            "server": {"log_level": "WARNING", "state_dir": folder, "run_dir": folder},
        }
    )
    bus = Bus(f"unix://{folder}/none", service="gateway", instance="bench")
    async with open_gateway(settings, bus, upstream=CannedUpstream()) as gateway:
        pieces: dict[str, Piece] = {"yardstick": yardstick}
        for path, name in WAYS.items():
            for kind, stream in (("whole", False), ("stream", True)):
                body = body_of(path, stream=stream)
                pieces[f"{name}, {kind}"] = requested(gateway.app, path, body)
        yield pieces


def requested(app: Callable[..., Awaitable[None]], path: str, body: bytes) -> Piece:
    """Return the piece that sends a request to `app`. Raises RuntimeError unless the answer is
    200 and complete.
    """
    headers = [
        (b"host", b"127.0.0.1:8000"),
        (b"user-agent", b"bench/1.0"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + TOKEN.encode()),
        (b"content-length", str(len(body)).encode()),
    ]

    async def request() -> None:
        sent: list[Message] = []
        unread = [body]

        async def receive() -> Message:
            if not unread:
                await asyncio.Event().wait()  # the client stays until it has its answer
            return {"type": "http.request", "body": unread.pop(), "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": list(headers),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
        }
        await app(scope, receive, send)
        if sent[0].get("status") != 200 or sent[-1].get("more_body"):
            raise RuntimeError(f"{path} answered {sent[:2]}")

    return request


async def yardstick() -> None:
    """Do a fixed amount of what the gateway is made of: calls, dictionaries, texts and JSON. The
    other pieces are told in multiples of this one, so that a faster build of Python changes
    neither.
    """
    for number in range(YARDSTICK_ROUNDS):
        fields = {f"name-{number}-{index}": index for index in range(8)}
        text = json.dumps(fields, separators=(",", ":"))
        found = load_json(text.encode())
        assert sum(found.values()) == sum(fields.values())
