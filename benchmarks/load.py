"""The load: closed-loop clients on one uvloop Protocol each, counting answers and the age of
stamped tokens.

Prints one JSON line: answers done, seconds, latency and time-to-first-token percentiles, token
delay percentiles (ms).
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

STAMP = re.compile(rb"@(\d+)@")
END = b"0\r\n\r\n"
RAMP_SECONDS = 1.0


class Client(asyncio.Protocol):
    """Sends the same request again and again until `deadline`; a stream counts when its last chunk
    came.
    """

    def __init__(self, request: bytes, deadline: float, tally: Tally) -> None:
        self.request = request
        self.deadline = deadline
        self.tally = tally
        self.transport: asyncio.Transport | None = None
        self.finished = asyncio.get_running_loop().create_future()
        self.reset()

    def reset(self) -> None:
        self.began = time.perf_counter()
        self.first_token: float | None = None
        self.received = 0
        self.expected: int | None = None
        self.chunked = False
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not registered as one
        self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.tally.errors += 1
            self.finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        if b"@" in data:
            self.note_tokens(data)
        if self.expected is None and not self.chunked:
            self.head += data
            if (end := self.head.find(b"\r\n\r\n")) < 0:
                return
            self.read_head(self.head[:end].lower())
            data = self.head[end + 4 :]
        self.received += len(data)
        if (self.chunked and data.endswith(END)) or (
            self.expected is not None and self.received >= self.expected
        ):
            self.done()

    def note_tokens(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self.first_token is None:
            self.first_token = time.perf_counter()
            self.tally.first_tokens.append(self.first_token - self.began)
        self.tally.delays.extend((now - int(stamp)) / 1e9 for stamp in STAMP.findall(data))

    def read_head(self, head: bytes) -> None:
        if not head.startswith(b"http/1.1 200"):
            self.tally.errors += 1
        at = head.find(b"content-length:")
        if at >= 0:
            self.expected = int(head[at + 15 :].split(b"\r\n", 1)[0])
        else:
            self.chunked = True

    def done(self) -> None:
        assert self.transport is not None
        now = time.perf_counter()
        self.tally.latencies.append(now - self.began)
        if now < self.deadline:
            self.reset()
            self.transport.write(self.request)
        else:
            self.finished.set_result(None)
            self.transport.close()


class Tally:
    """What all clients saw together; seconds."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.first_tokens: list[float] = []
        self.delays: list[float] = []
        self.errors = 0


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


async def run(port: int, request: bytes, connections: int, seconds: float) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    tally = Tally()
    began = time.perf_counter()
    clients = []
    for number in range(connections):
        # clients come one after another, as they do in life: a herd at the start would be all that
        # is measured
        await asyncio.sleep(
            max(0.0, began + RAMP_SECONDS * number / connections - time.perf_counter())
        )
        _, client = await loop.create_connection(
            lambda: Client(request, began + seconds, tally), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.wait_for(
        asyncio.gather(*(client.finished for client in clients)), seconds * 4 + 30
    )
    return {
        "done": len(tally.latencies),
        "errors": tally.errors,
        "seconds": round(time.perf_counter() - began, 3),
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
    request = http_request(plan["path"], plan["body"].encode(), plan["headers"])
    sys.stdout.write(
        json.dumps(uvloop.run(run(plan["port"], request, plan["connections"], plan["seconds"])))
        + "\n"
    )
