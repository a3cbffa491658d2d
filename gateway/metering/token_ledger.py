"""The ledger of tokens with limits: what each has spent in each bucket, over all gateways.

A request of a token without limits costs nothing here. Before a request of a limited token its sums
are read from Redis; after its last byte what it spent is added there (`shared_sums`).

While Redis is away, a gateway goes on from the sums that it knows, with what it has counted itself
since; nothing is lost, and the other gateways hear of it later. A token's overshoot is at most what
it had in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gateway.metering.shared_sums import ANSWER, SharedSums
from shared.accounts.quota import Quota
from shared.accounts.token_limits import (
    WINDOWS,
    Bucket,
    Limits,
    Span,
    SpentSums,
    TokenLimit,
    bucket_of,
    subscription_of,
    window_of,
)
from shared.bus import Bus
from shared.bus.alerts import LIMIT_REPORTS, LimitReport
from shared.bus.channels import AccessRecord
from shared.runtime.background import end_task
from shared.runtime.errors import BusUnavailable, Busy, SpendLimitReached
from shared.runtime.log import get_log
from shared.runtime.times import minute_in_utc

EVERYBODY = ""  # whose sums are those of all tokens: a share of a window is measured against them
IDLE_SECONDS = 1.0  # between two looks at what to repeat, to renew and to forget
ADMIT_SECONDS = 1.0  # a request waits no longer for Redis: it goes on by the sums that are known
RETRY_SECONDS = 1.0
REPORT_STEP = 0.05  # of a limit; alerts begin at a fraction that the owner chooses
LEASE_SECONDS = 60.0  # of a request among a token's active ones; renewed by its gateway
RENEW_SECONDS = 20.0
MOST_RELEASED = 10_000  # leases end by themselves

# KEYS[1]: the token's active requests (sorted set of ids by the end of their lease, UTC seconds);
# KEYS[2 …]: hashes of sums. ARGV[1]: now, [2]: end of the lease, [3]: id, [4]: most active requests
# or 0. Answers the run and the sums, then whether the request may begin.
ADMIT = (
    ANSWER
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
local most, free = tonumber(ARGV[4]), 1
if most > 0 and redis.call('ZCARD', KEYS[1]) >= most then
  free = 0
else
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
  redis.call('EXPIRE', KEYS[1], 3600)
end
local found = answer(2)
found[#found + 1] = free
return found
"""
)
# KEYS[1]: a token's active requests. ARGV[1]: the new end of the leases, [2 …]: ids still active.
RENEW = """
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[place]) end
redis.call('EXPIRE', KEYS[1], 3600)
"""
# KEYS[1]: a token's active requests. ARGV[1]: now.
ACTIVE = "return redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf')"
# KEYS[1]: a token's active requests. ARGV[1]: an id that has ended.
RELEASE = "redis.call('ZREM', KEYS[1], ARGV[1])"


class LimitedCaller(Protocol):
    """The part of a caller needed by the ledger."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def at_once(self) -> int: ...


@dataclass(frozen=True, slots=True)
class UsedLimit:
    """A limit of a token, and its used fraction."""

    limit: TokenLimit
    bucket: Bucket
    fraction: float


class TokenLedger:
    """The ledger of a gateway. `price` returns the cost of a record at list prices, in dollars, and
    `quota` a provider's quota. `clock` returns UTC seconds.
    """

    def __init__(
        self,
        bus: Bus,
        price: Callable[[AccessRecord], float],
        quota: Callable[[str], Quota | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._price = price
        self._quota = quota
        self._clock = clock
        self._sums = SharedSums(bus, clock)
        self._active: dict[str, set[str]] = {}
        self._released: deque[tuple[str, str]] = deque(maxlen=MOST_RELEASED)
        self._renewed_at = 0.0
        # The limits of tokens whose sums have changed, by token and provider, and the last step of
        # each limit that was reported, by the key of its sum.
        self._changed: dict[tuple[str, str], Limits] = {}
        self._reported: dict[str, dict[str, int]] = {}
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> TokenLedger:
        self._task = asyncio.create_task(self._keep_sending())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        try:
            await self.send()
        except BusUnavailable:
            if unsent := self._sums.unsent:
                get_log().warning("token_counts_lost", requests=unsent)

    async def admit(self, caller: LimitedCaller, record: AccessRecord) -> None:
        """Let the request of `record` begin, and enter it among the token's active requests.

        Raises SpendLimitReached if one of the token's limits is used up, Busy if the token has as
        many active requests as it may.
        """
        name = caller.name
        if not caller.limits and not caller.at_once:
            return
        # 1. Read the sums, and enter the request among the active ones, in one step.
        if not await self._enter(caller, record):
            raise Busy(
                f"The token {name!r} may have {caller.at_once} requests at once; wait until one of "
                "them ends."
            )
        self._active.setdefault(name, set()).add(record.request_id)
        # 2. Refuse by the limit that is used up for longest: until its end no request may begin.
        uses = self.uses(name, caller.limits, record.provider)
        reached = [use for use in uses if use.fraction >= 1]
        if reached:
            self._release(name, record.request_id)
            longest = max(reached, key=lambda use: use.bucket.ends_at)
            raise limit_reached(name, longest, self._clock())

    def count(self, caller: LimitedCaller, record: AccessRecord) -> None:
        """Add the amount spent by the ended request of `record`, and end the request among the
        active requests.

        Nothing is counted for a request that was not admitted.
        """
        name = caller.name
        if record.request_id not in self._active.get(name, ()):
            return
        self._release(name, record.request_id)
        if caller.limits:
            buckets = [self._bucket(limit.per, record.provider) for limit in caller.limits]
            keys = {sums_key(name, bucket): bucket.ends_at for bucket in buckets}
            self._sums.add(record.request_id, self._spent_by(record), keys)
            self._changed[name, record.provider] = caller.limits

    def count_for_shares(self, record: AccessRecord) -> None:
        """Add the amount spent by the ended request of `record` to everybody's sums, the measure of
        shares. To be called for every request while a token has a share of a window.
        """
        buckets = [self._bucket(span, record.provider) for span in WINDOWS]
        keys = {sums_key(EVERYBODY, bucket): bucket.ends_at for bucket in buckets}
        self._sums.add(f"{record.request_id}:all", self._spent_by(record), keys)
        self._wake.set()

    def uses(self, name: str, limits: Limits, provider: str) -> list[UsedLimit]:
        """Return the used fractions of all `limits`, from the sums known to this gateway."""
        quota = self._quota(subscription_of(provider))
        found = []
        for limit in limits:
            bucket = self._bucket(limit.per, provider)
            window = window_of(limit.per, quota, self._clock())
            fraction = limit.used(
                self._sums.sum(sums_key(name, bucket)),
                self._sums.sum(sums_key(EVERYBODY, bucket)),
                window.used if window else 0.0,
            )
            found.append(UsedLimit(limit, bucket, fraction))
        return found

    async def read_uses(self, name: str, limits: Limits, provider: str) -> list[UsedLimit]:
        """Return the used fraction of every limit, from Redis. Raises BusUnavailable."""
        keys = self._keys(name, limits, provider)
        if not keys:
            return []
        await self._sums.read(keys)
        return self.uses(name, limits, provider)

    async def count_active(self, name: str) -> int:
        """Return the number of active requests of a token, in all gateways. Raises
        BusUnavailable.
        """
        count = await self._bus.run_script(ACTIVE, [active_key(name)], self._clock())
        return int(count)

    async def send(self) -> None:
        """Send the news to Redis: the ends of requests, then additions, oldest first.

        Raises BusUnavailable; what was not sent is sent by the next call.
        """
        async with self._sending:
            while self._released:
                await self._send_release()
            await self._sums.send()

    async def _send_release(self) -> None:
        ended = self._released.popleft()
        name, request_id = ended
        is_released = False
        try:
            await self._bus.run_script(RELEASE, [active_key(name)], request_id)
            is_released = True
        finally:
            if not is_released:
                self._released.appendleft(ended)

    async def _keep_sending(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.send()
                await self._report()
                await self._sums.look_at_run()
                await self._renew()
            except BusUnavailable:
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)
            for key in self._sums.forget_old():
                self._reported.pop(key, None)

    async def _report(self) -> None:
        """Publish the used limits, for alerts: a limit at every REPORT_STEP of its use. Raises
        BusUnavailable.
        """
        while self._changed:
            (name, provider), limits = self._changed.popitem()
            for use in self.uses(name, limits, provider):
                step = int(use.fraction / REPORT_STEP)
                reported = self._reported.setdefault(sums_key(name, use.bucket), {})
                if step > reported.get(str(use.limit), 0):
                    # The next use of the token repeats a report that failed.
                    report = LimitReport(name, str(use.limit), use.fraction, use.bucket.ends_at)
                    await self._bus.publish(LIMIT_REPORTS, report)
                    reported[str(use.limit)] = step

    async def _renew(self) -> None:
        """Renew the leases of the active requests, every RENEW_SECONDS. Raises BusUnavailable."""
        now = self._clock()
        if now - self._renewed_at < RENEW_SECONDS:
            return
        for name, ids in list(self._active.items()):
            await self._bus.run_script(RENEW, [active_key(name)], now + LEASE_SECONDS, *ids)
        self._renewed_at = now

    async def _enter(self, caller: LimitedCaller, record: AccessRecord) -> bool:
        """Enter the request among the token's active requests and learn the sums of the token's
        limits. Return False if the token has as many active requests as allowed.
        """
        name = caller.name
        keys = self._keys(name, caller.limits, record.provider)
        now = self._clock()
        if self._bus.connected:
            with contextlib.suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(ADMIT_SECONDS):
                    *answer, free = await self._bus.run_script(
                        ADMIT,
                        [active_key(name), *keys],
                        now,
                        now + LEASE_SECONDS,
                        record.request_id,
                        caller.at_once,
                    )
                self._sums.learn(keys, answer)
                return bool(free)
        # Without Redis this gateway knows its own active requests only.
        return not caller.at_once or len(self._active.get(name, ())) < caller.at_once

    def _keys(self, name: str, limits: Limits, provider: str) -> dict[str, float]:
        """Return the keys of the sums behind `limits`, with the ends of the sums' buckets."""
        keys = {}
        for limit in limits:
            bucket = self._bucket(limit.per, provider)
            keys[sums_key(name, bucket)] = bucket.ends_at
            if limit.unit == "percent":
                keys[sums_key(EVERYBODY, bucket)] = bucket.ends_at
        return keys

    def _bucket(self, span: Span, provider: str) -> Bucket:
        subscription = subscription_of(provider)
        return bucket_of(span, self._clock(), subscription, self._quota(subscription))

    def _spent_by(self, record: AccessRecord) -> SpentSums:
        return SpentSums(
            micro_usd=round(self._price(record) * 1_000_000),
            tokens=record.tokens_input
            + record.tokens_output
            + record.cache_read_tokens
            + record.cache_write_tokens,
            requests=1,
        )

    def _release(self, name: str, request_id: str) -> None:
        """End a request among the token's active requests, and wake the sending task."""
        active = self._active.get(name, set())
        active.discard(request_id)
        if not active:
            self._active.pop(name, None)
        self._released.append((name, request_id))
        self._wake.set()


def sums_key(name: str, bucket: Bucket) -> str:
    """Return Redis' key of the amount spent by the token `name` in `bucket`."""
    return f"spent:{name}:{bucket.name}"


def active_key(name: str) -> str:
    """Return Redis' key of the active requests of the token `name`."""
    return f"active:{name}"


def limit_reached(name: str, use: UsedLimit, now: float) -> SpendLimitReached:
    """Return the refusal in the words of the provider's own spend limits, as Claude Code reads
    refusals: the reset is a day in UTC there, and the header has the second.
    """
    end = use.bucket.ends_at
    day = datetime.fromtimestamp(end, UTC)
    resets = f"{day:%b} {day.day}"
    left = max(1, math.ceil(end - now))
    return SpendLimitReached(
        f"spend limit reached \u00b7 resets {resets} \u00b7 The token {name!r} has used its limit "
        f"of {use.limit}; it may go on at {minute_in_utc(end)}.",
        limit=f"the limit of {use.limit} of the token {name}",
        resets_at=end,
        headers={
            "retry-after": str(left),
            "x-should-retry": "false",
            "anthropic-ratelimit-unified-reset": f"{end:.0f}",
        },
    )
