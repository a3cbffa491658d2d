"""Clients that ask without a pause while something happens to a stack, and what each of them saw.

A request has a secret of its own, which the simulator sends back with a whole answer: so an answer
that belongs to another request is seen. Every request has an id of its own, under which the records
must have it exactly once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.support.turns import SECRET

MODEL = "claude-sonnet-5-5"
REQUEST_SECONDS = 60.0
POLL_SECONDS = 0.05
REST_SECONDS = 0.05  # a refused client is not at once back
SLOW = "[[scenario:slow-20x40]]"  # a stream of 0.8 s
ENDS = {b"message_stop", b"[DONE]", b"response.completed"}
ERRORS = (b"event: error", b'"type":"error"', b"response.failed", b'data: {"error"')

unique = itertools.count()


@dataclass(frozen=True)
class Kind:
    """One kind of request: its path, and whether its answer is a stream."""

    path: str
    stream: bool

    def body(self, text: str) -> dict[str, Any]:
        """Return the request with `text` as its prompt."""
        if self.path.endswith("/responses"):
            return {"model": "gpt-5.5", "input": text, "stream": self.stream, "store": False}
        messages = [{"role": "user", "content": text}]
        return {"model": MODEL, "max_tokens": 1024, "stream": self.stream, "messages": messages}


KINDS = (
    Kind("/api/v1/messages", stream=False),
    Kind("/api/v1/messages", stream=True),
    Kind("/api/v1/chat/completions", stream=False),
    Kind("/codex/v1/responses", stream=True),
    Kind("/api/v1/chat/completions", stream=True),
)
AGENT = Kind("/sdk/v1/messages", stream=True)


@dataclass
class Seen:
    """What the clients saw. `answered` are the ids of whole good answers, each of which begins with
    `prefix`; `words` are the first words of each error.
    """

    prefix: str = field(default_factory=lambda: f"fault-{os.getpid()}-{next(unique)}-")
    counts: Counter[str] = field(default_factory=Counter)
    by_path: Counter[tuple[str, str]] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    words: Counter[str] = field(default_factory=Counter)

    def note(self, kind: Kind, outcome: str, request_id: str, words: str = "") -> None:
        """Count one request that ended as `outcome`."""
        self.counts[outcome] += 1
        self.by_path[kind.path, outcome] += 1
        if outcome == "ok":
            self.answered.add(request_id)
        elif words:
            self.words[words[:160]] += 1

    def sentence(self) -> str:
        """Return the counts as words for the table."""
        total = sum(self.counts.values())
        others = [
            f"{self.counts[name]} {name}"
            for name in ("typed", "cut", "refused", "wrong")
            if self.counts[name]
        ]
        return f"{', '.join(others)} of {total}" if others else f"all {total} answered"


class Load:
    """`clients` that ask the stack at `url` until the end; one more asks `/sdk` if `agent`."""

    def __init__(self, url: str, clients: int = 15, *, agent: bool = False) -> None:
        self.url = url
        self.seen = Seen()
        self._kinds = [KINDS[number % len(KINDS)] for number in range(clients)] + (
            [AGENT] if agent else []
        )
        self._ending = False

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Ask until `end`."""
        await asyncio.gather(*(self._ask_again_and_again(http, kind) for kind in self._kinds))

    def end(self) -> None:
        """Let each client finish the request that it has."""
        self._ending = True

    async def _ask_again_and_again(self, http: aiohttp.ClientSession, kind: Kind) -> None:
        while not self._ending:
            if await ask(http, self.url, kind, self.seen) != "ok":
                await asyncio.sleep(REST_SECONDS)


async def ask(
    http: aiohttp.ClientSession, url: str, kind: Kind, seen: Seen, text: str = SLOW
) -> str:
    """Send one request, note its outcome, and return it: ok, typed, cut, refused or wrong."""
    number = next(unique)
    request_id = f"{seen.prefix}{number}"
    secret = f"SECRET-{os.getpid()}x{number}x"
    prompt = f"{text if kind.stream and kind is not AGENT else ''} {secret}"
    received = b""
    status = 0
    try:
        sent = http.post(
            url + kind.path, json=kind.body(prompt), headers={"x-request-id": request_id}
        )
        async with asyncio.timeout(REQUEST_SECONDS), sent as reply:
            status = reply.status
            async for piece in reply.content.iter_any():
                received += piece
    except aiohttp.ClientConnectorError as error:
        outcome, words = "refused", str(error.os_error)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        outcome, words = (
            ("typed", "")
            if is_told(received)
            else ("cut", f"{type(error).__name__} after {received[:60]!r}")
        )
    else:
        outcome = judge(kind, status, received, secret)
        words = received.decode(errors="replace") if outcome != "ok" else ""
    seen.note(kind, outcome, request_id, words)
    return outcome


def is_told(received: bytes) -> bool:
    """Return True if the client was told of an error before the end."""
    return any(words in received for words in ERRORS)


def judge(kind: Kind, status: int, received: bytes, secret: str) -> str:
    """Return the outcome of an answer that came to its end."""
    if any(found != secret.encode() for found in SECRET.findall(received)):
        return "wrong"
    if status >= 400:
        return "typed" if error_of(received) else "cut"
    if is_told(received):
        return "typed"
    if not kind.stream or kind is AGENT:
        return "ok" if secret.encode() in received else "cut"
    return (
        "ok" if any(end in received for end in ENDS) else "cut"
    )  # the slow scenario says its own words


def error_of(received: bytes) -> Any:
    """Return the error in a JSON reply, or None."""
    try:
        return orjson.loads(received).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        return None


@asynccontextmanager
async def running(load: Load) -> AsyncIterator[Seen]:
    """Run `load` inside; at the end every request has come to its own."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as http:
        work = asyncio.create_task(load.run(http))
        try:
            yield load.seen
        finally:
            load.end()
            await work


async def asked(seen: Seen, more: int, deadline: float = 40.0) -> None:
    """Wait until the clients have got `more` good answers than now."""
    wanted = seen.counts["ok"] + more
    late = time.monotonic() + deadline
    while seen.counts["ok"] < wanted:
        assert time.monotonic() < late, f"{more} good answers in {deadline} s; seen: {seen}"
        await asyncio.sleep(POLL_SECONDS)


async def until_whole(url: str, *, agent: bool = False, deadline: float = 90.0) -> float:
    """Return the seconds until every route answers once, and the stack says that it is ready."""
    began = time.monotonic()
    probes = [Kind("/api/v1/messages", stream=False), Kind("/codex/v1/responses", stream=True)]
    if agent:
        probes.append(AGENT)
    waiting: list[Kind | None] = [*probes, None]
    async with aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(10)) as http:
        while waiting:
            assert time.monotonic() - began < deadline, f"not whole after {deadline} s: {waiting}"
            kind = waiting[0]
            well = (
                await is_ready(http, url)
                if kind is None
                else await ask(http, url, kind, Seen(), "") == "ok"
            )
            if well:
                waiting.pop(0)
            else:
                await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - began


async def is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    """Return True if the gateway says that every service is there."""
    try:
        async with http.get(f"{url}/health/ready") as reply:
            return reply.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def recorded(url: str, seen: Seen, deadline: float = 40.0) -> tuple[int, int]:
    """Return how many good answers have no record once the records have come, and how many have
    more than one.
    """
    sql = (
        "SELECT client_request_id AS id, count(*) AS times FROM requests "
        f"WHERE starts_with(client_request_id, '{seen.prefix}') GROUP BY client_request_id"
    )
    late = time.monotonic() + deadline
    async with aiohttp.ClientSession(trust_env=False) as http:
        while True:
            async with http.get(f"{url}/logs/query", params={"sql": sql, "limit": 10_000}) as reply:
                answer = await reply.json() if reply.status == 200 else {"results": []}
            times = {row["id"]: row["times"] for row in answer["results"]}
            missing = len(seen.answered - times.keys())
            if not missing or time.monotonic() > late:
                return missing, sum(1 for count in times.values() if count > 1)
            await asyncio.sleep(POLL_SECONDS * 4)
