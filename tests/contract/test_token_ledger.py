"""The ledger on a real Redis: several gateways, a Redis that dies, and a count that is exact."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import redis

from gateway.metering.shared_sums import COUNT, mark_key
from gateway.metering.token_ledger import LEASE_SECONDS, TokenLedger, active_key, sums_key
from shared.accounts.token_limits import Limits, bucket_of, parse_limit
from shared.bus import Bus
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable, Busy, SpendLimitReached
from tests.conftest import QUICK, RedisServer
from tests.contract.test_bounded_store import Clock

PROVIDER = "claude"


@dataclass(frozen=True)
class Holder:
    """The caller of a request."""

    name: str
    limits: Limits = ()
    at_once: int = 0


@dataclass
class Truth:
    """What the provider charged: every request that it answered; and the tokens charged at the time
    of each refusal.
    """

    tokens: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    refused: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    begun: int = 0


def price(record: AccessRecord) -> float:
    return record.tokens_output / 1000


async def open_ledger(opened: AsyncExitStack, url: str, name: str, clock: Clock) -> TokenLedger:
    bus = await opened.enter_async_context(
        Bus(url, service="gateway", instance=name, timings=QUICK)
    )
    return await opened.enter_async_context(TokenLedger(bus, price, lambda _: None, clock))


async def run_one(
    ledger: TokenLedger,
    caller: Holder,
    truth: Truth,
    tokens: int,
    pause: asyncio.Event | None = None,
) -> None:
    """Send one request of `caller`, which ends at once or with `pause`."""
    truth.begun += 1
    record = AccessRecord(f"req_{truth.begun}", 0, "POST", "/", provider=PROVIDER)
    try:
        await ledger.admit(caller, record)
    except SpendLimitReached:
        truth.refused[caller.name].append(truth.tokens[caller.name])
        raise
    if pause is not None:
        await pause.wait()
    record.tokens_output = tokens
    truth.tokens[caller.name] += tokens
    truth.requests[caller.name] += 1
    ledger.count(caller, record)


async def settled(*ledgers: TokenLedger) -> None:
    """Send what the ledgers have, trying again while Redis is away."""
    async with asyncio.timeout(20):
        for ledger in ledgers:
            while True:
                try:
                    await ledger.send()
                except BusUnavailable:
                    await asyncio.sleep(0.02)
                else:
                    break


def stored_tokens(url: str, name: str, clock: Clock) -> tuple[int, int]:
    """Return the tokens and requests of `name` today, as Redis has them."""
    key = sums_key(name, bucket_of("day", clock(), PROVIDER, None))
    with redis.Redis.from_url(url) as client:
        tokens, requests = client.hmget(key, "tokens", "requests")
    return int(tokens or 0), int(requests or 0)


async def test_two_gateways_count_into_one_sum_and_refuse_by_it(redis_url: str) -> None:
    clock, truth = Clock(), Truth()
    caller = Holder("chatbot", (parse_limit("100 tokens/day"),))
    async with AsyncExitStack() as opened:
        first = await open_ledger(opened, redis_url, "a", clock)
        second = await open_ledger(opened, redis_url, "b", clock)
        await run_one(first, caller, truth, 60)
        await settled(first)
        await run_one(second, caller, truth, 60)
        await settled(second)
        for ledger in (first, second):
            with pytest.raises(SpendLimitReached):
                await run_one(ledger, caller, truth, 1)
    assert stored_tokens(redis_url, "chatbot", clock) == (120, 2)


async def test_the_requests_at_once_are_counted_over_all_gateways(redis_url: str) -> None:
    clock, truth = Clock(), Truth()
    caller = Holder("chatbot", at_once=2)
    async with AsyncExitStack() as opened:
        first = await open_ledger(opened, redis_url, "a", clock)
        second = await open_ledger(opened, redis_url, "b", clock)
        records = [AccessRecord(f"running_{n}", 0, "POST", "/", provider=PROVIDER) for n in "ab"]
        await first.admit(caller, records[0])
        await second.admit(caller, records[1])
        for ledger in (first, second):
            with pytest.raises(Busy):
                await run_one(ledger, caller, truth, 1)
        first.count(caller, records[0])
        await settled(first)
        assert await second.count_active("chatbot") == 1
        await run_one(second, caller, truth, 1)


async def test_the_requests_of_a_gateway_that_died_end_with_their_lease(redis_url: str) -> None:
    clock, truth = Clock(), Truth()
    caller = Holder("chatbot", at_once=1)
    async with AsyncExitStack() as opened:
        dead = await open_ledger(opened, redis_url, "a", clock)
        alive = await open_ledger(opened, redis_url, "b", clock)
        await dead.admit(caller, AccessRecord("req_dead", 0, "POST", "/", provider=PROVIDER))
        with pytest.raises(Busy):
            await run_one(alive, caller, truth, 1)
        clock.tick(LEASE_SECONDS + 1)
        await run_one(alive, caller, truth, 1)


async def test_an_addition_that_is_sent_twice_counts_once(redis_url: str) -> None:
    clock = Clock()
    bucket = bucket_of("day", clock(), PROVIDER, None)
    async with Bus(redis_url, service="gateway", instance="a", timings=QUICK) as bus:
        for _ in range(2):
            keys = [mark_key("req_1"), sums_key("chatbot", bucket)]
            await bus.run_script(COUNT, keys, 60, 5, 10, int(bucket.ends_at))
    assert stored_tokens(redis_url, "chatbot", clock) == (10, 1)


async def test_what_a_redis_lost_in_a_crash_is_counted_again(own_redis: RedisServer) -> None:
    clock, truth = Clock(), Truth()
    caller = Holder("chatbot", (parse_limit("1M tokens/day"),))
    async with AsyncExitStack() as opened:
        ledger = await open_ledger(opened, own_redis.url, "a", clock)
        await run_one(ledger, caller, truth, 60)
        await settled(ledger)
        own_redis.kill()
        own_redis.forget()
        own_redis.start()
        await run_one(ledger, caller, truth, 40)
        # The first answer of the new run tells of the loss, and the second sending mends it.
        await settled(ledger, ledger)
        assert stored_tokens(own_redis.url, "chatbot", clock) == (100, 2)


@pytest.mark.parametrize("seed", range(8))
async def test_no_schedule_of_requests_and_crashes_loses_or_doubles_a_count(
    own_redis: RedisServer, seed: int
) -> None:
    """Random requests of two limited tokens through two gateways; with an odd seed Redis dies and
    comes back.
    """
    crashes = seed % 2 == 1
    chance = random.Random(seed)
    clock, truth = Clock(), Truth()
    limit = 400
    at_once = 4
    callers = [Holder(name, (parse_limit(f"{limit} tokens/day"),), at_once) for name in ("a", "b")]
    largest = 30
    async with AsyncExitStack() as opened:
        ledgers = [await open_ledger(opened, own_redis.url, name, clock) for name in ("x", "y")]
        running: set[asyncio.Task[None]] = set()
        for _ in range(120):
            act = chance.random()
            if crashes and act < 0.03:
                own_redis.kill()
                own_redis.start()
            elif act < 0.9:
                caller = chance.choice(callers)
                pause = asyncio.Event()
                sent = run_one(
                    chance.choice(ledgers), caller, truth, chance.randint(1, largest), pause
                )
                task = asyncio.create_task(sent)
                running.add(task)
                asyncio.get_running_loop().call_later(chance.random() * 0.02, pause.set)
            if len(running) > 6:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    refused = task.exception()
                    assert refused is None or isinstance(refused, SpendLimitReached | Busy)
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(each is None or isinstance(each, SpendLimitReached | Busy) for each in ended)
        await settled(*ledgers, *ledgers)
        for caller in callers:
            stored = stored_tokens(own_redis.url, caller.name, clock)
            assert stored == (truth.tokens[caller.name], truth.requests[caller.name])
            # While Redis is away each gateway is alone with what it knows.
            alone = len(ledgers) if crashes else 1
            assert truth.tokens[caller.name] <= alone * (limit + at_once * largest)
            # An addition on its way may count twice for a moment.
            assert all(tokens >= limit - largest for tokens in truth.refused[caller.name])
        with redis.Redis.from_url(own_redis.url) as client:
            assert client.zcard(active_key("a")) == 0
