"""The load: closed-loop clients on one uvloop Protocol each, counting answers and the age of
stamped tokens.

Prints one JSON line: good answers, errors with the first one's text, seconds, latency and
time-to-first-token percentiles, token delay percentiles (ms). A request that has no answer when
the patience ends is an error, so that the line always comes.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import uvloop

STAMP = re.compile(rb"@(\d+)@")
END = b"0\r\n\r\n"
RAMP_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.1
SHOWN_OF_ERROR = 300
MEGABYTE = 1_000_000


class Client(asyncio.Protocol):
    """Sends the same request again and again until the deadline; a stream counts when its last
    chunk came. A connection that ends is opened again.
    """

    def __init__(self, load: Run) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.finished = asyncio.get_running_loop().create_future()
        self.reset()

    def reset(self) -> None:
        self.began = time.perf_counter()
        self.first_token: float | None = None
        self.received = 0
        self.expected: int | None = None
        self.chunked = False
        self.until_close = False
        self.waiting = False
        self.good = False
        self.head = b""
        self.start_of_body = b""
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one
        self.send()

    def send(self) -> None:
        assert self.transport is not None
        self.reset()
        self.waiting = True
        self.transport.write(self.load.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.finished.done():
            return
        if self.until_close and exc is None:
            self.count()
        elif self.waiting:
            self.load.fail(f"the connection ended: {exc or 'no reason'}")
        if time.perf_counter() < self.load.deadline:
            self.load.reopen(self)
        else:
            self.finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        if b"@" in data:
            self.note_tokens(data)
        if not self.good and len(self.start_of_body) < SHOWN_OF_ERROR:
            self.start_of_body += data[:SHOWN_OF_ERROR]
        if self.expected is None and not (self.chunked or self.until_close):
            self.head += data
            if (end := self.head.find(b"\r\n\r\n")) < 0:
                return
            data = self.head[end + 4 :]
            self.read_head(self.head[:end].lower())
        self.received += len(data)
        self.tail = (self.tail + data)[-len(END) :]  # the last chunk may come in pieces
        if (self.chunked and self.tail == END) or (
            self.expected is not None and self.received >= self.expected
        ):
            self.done()

    def note_tokens(self, data: bytes) -> None:
        now = time.monotonic_ns()
        stamps = STAMP.findall(data)
        if self.first_token is None and stamps:
            self.first_token = time.perf_counter()
            self.load.tally.first_tokens.append(self.first_token - self.began)
        self.load.tally.delays.extend((now - int(stamp)) / 1e9 for stamp in stamps)

    def read_head(self, head: bytes) -> None:
        self.good = head.startswith(b"http/1.1 200")
        if b"\r\ntransfer-encoding: chunked" in head:
            self.chunked = True
        elif (at := head.find(b"\r\ncontent-length:")) >= 0:
            self.expected = int(head[at + 17 :].split(b"\r\n", 1)[0])
        else:
            self.until_close = True

    def count(self) -> None:
        self.waiting = False
        if self.good:
            self.load.tally.latencies.append(time.perf_counter() - self.began)
        else:
            self.load.fail(self.start_of_body.decode("utf-8", "replace"))

    def done(self) -> None:
        assert self.transport is not None
        self.count()
        if time.perf_counter() < self.load.deadline:
            self.send()
        else:
            self.finished.set_result(None)
            self.transport.close()


@dataclass
class Tally:
    """What all clients saw together; seconds."""

    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""


class Run:
    """One run of the load: the request, its deadline, and what the clients counted."""

    def __init__(self, port: int, request: bytes, seconds: float) -> None:
        self.port = port
        self.request = request
        self.began = time.perf_counter()
        self.deadline = self.began + seconds
        self.tally = Tally()
        self.opening: set[asyncio.Task[None]] = set()

    def fail(self, why: str) -> None:
        self.tally.errors += 1
        self.tally.first_error = self.tally.first_error or why[:SHOWN_OF_ERROR]

    def reopen(self, client: Client) -> None:
        task = asyncio.create_task(self.open(client, RETRY_SECONDS))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def open(self, client: Client, delay: float) -> None:
        """Connect `client` after `delay` seconds, and again while it is refused before the end."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(delay)
            if delay and time.perf_counter() >= self.deadline:
                client.finished.set_result(None)
                return
            try:
                await loop.create_connection(lambda: client, "127.0.0.1", self.port)
                return
            except OSError as refused:
                self.fail(f"no connection: {refused}")
            delay = RETRY_SECONDS

    async def close(self, clients: Iterable[Client]) -> None:
        """End what is still open when the patience has ended."""
        for task in self.opening:
            task.cancel()
        for client in clients:
            if client.transport is not None:
                client.transport.abort()
        await asyncio.sleep(0)


def percentile(values: list[float], share: float) -> float | None:
    """In milliseconds; None of nothing."""
    return (
        round(sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000, 3)
        if values
        else None
    )


def http_request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [
        f"content-length: {len(body)}"
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def run(
    port: int,
    request: bytes,
    connections: int,
    seconds: float,
    ramp: float = RAMP_SECONDS,
    patience: float = PATIENCE_SECONDS,
) -> dict[str, object]:
    """Return what `connections` clients saw that send `request` for so many seconds. Each comes a
    little after the one before, all within `ramp` seconds.
    """
    load = Run(port, request, seconds)
    clients: list[Client] = []
    for number in range(connections):
        # clients come one after another, as they do in life: a herd at the start would be all that
        # is measured
        await asyncio.sleep(
            max(0.0, load.began + ramp * number / connections - time.perf_counter())
        )
        clients.append(Client(load))
        await load.open(clients[-1], 0)
    _, late = await asyncio.wait(
        [client.finished for client in clients],
        timeout=load.deadline + patience - time.perf_counter(),
    )
    for client in late:
        load.fail(f"no whole answer {patience:g} seconds after the end of the load")
        client.cancel()
    await load.close(clients)
    tally = load.tally
    return {
        "done": len(tally.latencies),
        "errors": tally.errors,
        "first_error": tally.first_error,
        "seconds": round(time.perf_counter() - load.began, 3),
        "latency_p50": percentile(tally.latencies, 0.5),
        "latency_p99": percentile(tally.latencies, 0.99),
        "first_token_p50": percentile(tally.first_tokens, 0.5),
        "first_token_p99": percentile(tally.first_tokens, 0.99),
        "delay_p50": percentile(tally.delays, 0.5),
        "delay_p99": percentile(tally.delays, 0.99),
        "tokens": len(tally.delays),
    }


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    # A body of megabytes is no argument of a program: its text is made here.
    filler = "word " * int(plan.get("megabytes", 0) * MEGABYTE / 5)
    body = plan["body"].replace("FILLER", filler).encode()
    request = http_request(plan["path"], body, plan["headers"])
    limits = {name: plan[name] for name in ("ramp", "patience") if name in plan}
    found = uvloop.run(run(plan["port"], request, plan["connections"], plan["seconds"], **limits))
    sys.stdout.write(json.dumps(found) + "\n")
