"""Growth of the gateway with the tokens that have limits: the check of a token, the entry of its
request in the ledger, the count after the end, and the start of a gateway's guard.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import redis

from benchmarks.analytics import a_record
from benchmarks.curves import CONSTANT, LINEAR, Curve, Growth, cpu_ms, cpu_ms_of, in_turn
from benchmarks.scale import running_redis
from gateway.metering.token_ledger import TokenLedger
from gateway.server.guard import Guard
from shared.accounts.token_limits import parse_limit
from shared.accounts.tokens import StoredToken, TokenFile
from shared.bus import Bus
from shared.settings.security import STORED_PREFIX, SecuritySettings
from shared.settings.servers import ServerSettings

CALLS = 50


def secret(number: int) -> str:
    return f"{STORED_PREFIX}{number:040d}"


def a_token(number: int) -> StoredToken:
    return StoredToken(
        name=f"token-{number}",
        sha256=hashlib.sha256(secret(number).encode()).hexdigest(),
        limits=(parse_limit("$500/day"), parse_limit("1M tokens/week")),
        at_once=100,
    )


@dataclass
class Gateway:
    """The parts of a gateway that look at tokens; every token has used its limits once."""

    security: SecuritySettings
    guard: Guard
    ledger: TokenLedger
    server: redis.Redis
    size: int

    def __post_init__(self) -> None:
        self.numbers = count()

    def headers(self, number: int) -> dict[bytes, bytes]:
        return {
            b"host": b"127.0.0.1",
            b"x-api-key": secret(number).encode(),
            b"content-type": b"application/json",
        }

    def check(self) -> float:
        """Return the CPU-ms of the check of a request's token."""
        headers = self.headers(self.size // 2)
        return cpu_ms(lambda: self.guard.admit("POST", "/api/v1/messages", headers), CALLS)

    def start(self) -> float:
        """Return the CPU-ms of a guard that knows all tokens."""

        def begin() -> None:
            guard = Guard(ServerSettings(), self.security)
            guard.admit("POST", "/api/v1/messages", self.headers(0))

        return cpu_ms(begin, 1)

    def cpu(self) -> float:
        """Return the CPU seconds of this process and of Redis."""
        return time.process_time() + redis_cpu(self.server)

    async def request(self) -> None:
        """Let one request of a token begin and end, until Redis knows what it spent."""
        number = next(self.numbers)
        caller = self.guard.admit(
            "POST", "/api/v1/messages", self.headers(number * 7919 % self.size)
        )
        record = a_record(number)
        await self.ledger.admit(caller, record)
        self.ledger.count(caller, record)
        await self.ledger.send()


def redis_cpu(server: redis.Redis) -> float:
    """Return the CPU seconds that a Redis has used."""
    found = server.info("cpu")
    assert isinstance(found, dict)
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


@contextlib.asynccontextmanager
async def knowing(folder: Path, size: int) -> AsyncIterator[Gateway]:
    """Yield a gateway that knows `size` tokens, whose sums it has read."""
    path = folder / f"tokens-{size}.json"
    with TokenFile(path).changing() as tokens:
        tokens.extend(a_token(number) for number in range(size))
    security = SecuritySettings(tokens_file=path)
    with running_redis() as (url, _):
        async with (
            Bus(url, service="gateway", instance="growth") as bus,
            TokenLedger(bus, lambda _: 0.001, lambda _: None) as ledger,
        ):
            server = redis.Redis.from_url(url)
            gateway = Gateway(security, Guard(ServerSettings(), security), ledger, server, size)
            for _ in range(size):
                await gateway.request()
            yield gateway


async def tokens(sizes: list[int]) -> Growth:
    with tempfile.TemporaryDirectory(prefix="ccgrowth") as made:
        async with contextlib.AsyncExitStack() as opened:
            gateways = {
                size: await opened.enter_async_context(knowing(Path(made), size)) for size in sizes
            }

            async def check(gateway: Gateway) -> float:
                return gateway.check()

            async def start(gateway: Gateway) -> float:
                return gateway.start()

            async def request(gateway: Gateway) -> float:
                return await cpu_ms_of(gateway.request, CALLS, gateway.cpu)

            curves = [
                Curve(
                    label,
                    expected,
                    await in_turn({size: partial(of, each) for size, each in gateways.items()}),
                )
                for label, expected, of in (
                    ("check a token", CONSTANT, check),
                    ("a request: check, limits, count (with Redis)", CONSTANT, request),
                    ("start", LINEAR, start),
                )
            ]
    return Growth(
        "Tokens with limits",
        "tokens",
        "CPU-ms",
        curves,
        "Every token has two limits and has been used. The start reads and checks the file of all "
        "tokens.",
    )
