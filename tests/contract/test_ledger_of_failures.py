"""What tokens with limits have spent equals what the provider charged, over random requests, failures
of the provider, clients that leave, and gateways that stop in the middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.accounts.token_limits import parse_limit
from shared.accounts.tokens import StoredToken, TokenFile, token_digest
from shared.settings.tree import load_settings
from tests.conftest import BusFactory
from tests.support.analytics_process import eventually
from tests.support.simulator_fixture import API_KEY, GroundTruth
from tests.unit.gateway.conftest import serve

pytestmark = pytest.mark.long

LIMITS = {"narrow": 250, "wide": 500_000}  # tokens a month
AT_ONCE = 3
LIVES = 3  # of two gateways each
BATCHES = 6  # of AT_ONCE requests in a life
ENDINGS = ("text", "long-30", "529", "429-5", "error", "cut")
PATHS = ("/api/v1/messages", "/api/v1/chat/completions")


def secret_of(name: str) -> str:
    return f"ccp_{name}-secret-of-more-than-thirty-letters"


def write_tokens(path: Path) -> None:
    with TokenFile(path).changing() as tokens:
        for name, most in LIMITS.items():
            limit = parse_limit(f"{most} tokens/month")
            digest = token_digest(secret_of(name))
            tokens.append(StoredToken(name=name, sha256=digest, limits=(limit,)))


class World:
    """Gateways between the simulator and Redis, and what the test knows of its requests."""

    def __init__(
        self, file: Path, simulator: GroundTruth, bus_factory: BusFactory, redis_url: str
    ) -> None:
        self._file = file
        self._simulator = simulator
        self._bus_factory = bus_factory
        self._redis_url = redis_url
        self.sent: Counter[str] = Counter()  # requests that were not refused, by token
        self.refused: Counter[str] = Counter()

    async def open_gateway(self, life: AsyncExitStack, **server: float) -> httpx.AsyncClient:
        """Return a client of a new gateway, which stops at the end of `life`."""
        settings = load_settings(
            security={"tokens_file": self._file, "auth_token": "the-owner-s-secret"},
            claude={"base_url": self._simulator.url, "api_key": API_KEY},
            observability={"duckdb_path": self._file.with_name("records.duckdb")},
            server=server,
        )
        bus: Any = await self._bus_factory()
        running = await life.enter_async_context(serve(settings, bus, None))  # type: ignore[arg-type]
        return running.client

    async def ask(
        self, client: httpx.AsyncClient, name: str, scenario: str, path: str, *, stream: bool
    ) -> None:
        """Send one request of the token `name`, and count it unless the token is at its limit."""
        try:
            answer = await client.post(path, **request(name, scenario, stream=stream))
        except httpx.RemoteProtocolError:
            self.sent[name] += 1  # the reply broke off
            return
        is_refused = answer.status_code == 429 and "spend limit" in answer.text
        (self.refused if is_refused else self.sent)[name] += 1

    async def begin(self, client: httpx.AsyncClient, life: AsyncExitStack, name: str) -> None:
        """Send a request whose slow stream has begun, and is left open until the end of `life`."""
        body = request(name, "slow-50", stream=True)
        answer = await life.enter_async_context(client.stream("POST", PATHS[0], **body))
        assert answer.status_code == 200
        await anext(answer.aiter_raw())
        self.sent[name] += 1

    async def leave(self, client: httpx.AsyncClient, name: str) -> None:
        """Send a request that the provider never answers, and go away."""
        body = request(name, "hang", stream=True)
        asking = asyncio.create_task(client.post(PATHS[0], **body))

        async def is_waiting() -> bool:
            last = self._simulator.last()
            return last.model == body["json"]["model"] and last.ended_after_ms is None

        await eventually(is_waiting)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        self.sent[name] += 1

    def charged(self) -> Counter[str]:
        """Return the tokens that the provider charged, by the token of the request."""
        charged: Counter[str] = Counter()
        for seen in self._simulator.requests():
            for name in LIMITS:
                if f"I am {name}.".encode() in seen.raw:
                    charged[name] += tokens_in(seen.usage)
        return charged

    def largest(self) -> int:
        """Return the most tokens of one request."""
        return max(tokens_in(seen.usage) for seen in self._simulator.requests())

    def stored(self, field: str) -> Counter[str]:
        """Return the sums of `field` in Redis, by token."""
        sums: Counter[str] = Counter()
        with redis.Redis.from_url(self._redis_url) as client:
            for name in LIMITS:
                for key in client.scan_iter(f"spent:{name}:*"):
                    sums[name] += int(client.hget(key, field) or 0)
        return sums

    async def is_counted(self) -> bool:
        return self.stored("tokens") == self.charged() and self.stored("requests") == self.sent


def request(name: str, scenario: str, *, stream: bool) -> dict[str, Any]:
    """Return the parameters of a request of the token `name`."""
    body = {
        "model": f"claude-sim-{scenario}",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": f"I am {name}."}],
        "stream": stream,
    }
    return {"json": body, "headers": {"x-api-key": secret_of(name)}}


def tokens_in(usage: dict[str, Any]) -> int:
    kinds = "input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens"
    return sum(usage.get(kind) or 0 for kind in kinds.split())


@pytest.fixture
def world(tmp_path: Path, simulator: GroundTruth, bus_factory: BusFactory, redis_url: str) -> World:
    file = tmp_path / "tokens.json"
    write_tokens(file)
    return World(file, simulator, bus_factory, redis_url)


async def ask_at_random(world: World, gateways: list[httpx.AsyncClient], seed: int) -> None:
    """Send AT_ONCE random requests at once."""
    chance = random.Random(seed)
    sends: list[Awaitable[None]] = [
        world.ask(
            chance.choice(gateways),
            chance.choice(list(LIMITS)),
            chance.choice(ENDINGS),
            chance.choice(PATHS),
            stream=chance.random() < 0.5,
        )
        for _ in range(AT_ONCE)
    ]
    await asyncio.gather(*sends)


@pytest.mark.timeout(240)
async def test_the_ledger_equals_what_the_provider_charged_over_failures_and_restarts(
    world: World,
) -> None:
    for number in range(LIVES):
        async with AsyncExitStack() as life, AsyncExitStack() as streams:
            gateways = [await world.open_gateway(life) for _ in range(2)]
            for batch in range(BATCHES):
                await ask_at_random(world, gateways, seed=BATCHES * number + batch)
                # All sums have arrived, so the next requests are judged by what was charged.
                await eventually(world.is_counted)
            await world.leave(gateways[0], "wide")
            for client in gateways:
                await world.begin(client, streams, "wide")
            # The gateways stop here, in the middle of the two streams.
            await life.aclose()
        await eventually(world.is_counted)
    assert world.refused["narrow"] > 0
    assert world.refused["wide"] == 0
    assert world.charged()["narrow"] <= LIMITS["narrow"] + AT_ONCE * world.largest()


async def test_a_request_that_the_provider_does_not_answer_in_time_counts_as_one(
    world: World,
) -> None:
    async with AsyncExitStack() as life:
        client = await world.open_gateway(life, first_byte_timeout_seconds=0.2)
        for path in PATHS:
            await world.ask(client, "wide", "hang", path, stream=True)
    await eventually(world.is_counted)
    assert world.sent == {"wide": 2}
    assert world.charged() == {"wide": 0}
