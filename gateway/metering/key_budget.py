"""What the API key of a provider may still spend today, counted over all gateways.

Counted after the last byte and checked before the first, as limits of tokens are (record 86): the
key exceeds its limit by what is in flight, and by no more. A gateway reads the sum of today from
Redis before each request that the key would pay for.

Invariant, while Redis is away: a gateway that has never heard today's sum lets the key pay for
nothing, and each of the others spends at most its share of what was left when it last heard the
sum. All gateways together therefore keep the limit without hearing of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.metering.shared_sums import SharedSums
from shared.accounts.token_limits import Bucket, SpentSums, bucket_of
from shared.bus import Bus
from shared.bus.channels import AccessRecord
from shared.runtime.errors import BusUnavailable

READ_SECONDS = 1.0  # a request waits no longer for Redis: it goes on by the sums that are known
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The dollars spent today by an API key, and the key's daily limit; the day ends at `ends_at`,
    UTC seconds.
    """

    spent_usd: float
    usd_per_day: float
    ends_at: float


class KeyBudget:
    """The daily limits `usd_per_day` of API keys, by provider. `price` returns the cost of a record
    at list prices, `gateways` is the number of gateways allowed to spend, `clock` returns UTC
    seconds.
    """

    def __init__(
        self,
        bus: Bus,
        price: Callable[[AccessRecord], float],
        usd_per_day: Mapping[str, float],
        gateways: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._price = price
        self._usd_per_day = usd_per_day
        self._gateways = gateways
        self._clock = clock
        self._sums = SharedSums(bus, clock)

    @property
    def unsent(self) -> int:
        """Return the number of requests with a cost still unknown to Redis."""
        return self._sums.unsent

    async def admits(self, provider: str) -> bool:
        """Return True if the key of `provider` may pay for another request."""
        bucket = self._day()
        key = day_key(provider, bucket)
        limit = self._usd_per_day[provider] * MILLION
        if self._bus.connected:
            with contextlib.suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    await self._sums.read({key: bucket.ends_at})
                return self._sums.sum(key).micro_usd < limit
        stored = self._sums.stored_sum(key)
        if stored is None:
            return False
        share = (limit - stored.micro_usd) / self._gateways
        return self._sums.unheard_sum(key).micro_usd < share

    def count(self, record: AccessRecord) -> None:
        """Add the cost of the ended request of `record` to the key's sum; `send` tells Redis."""
        bucket = self._day()
        spent = SpentSums(micro_usd=round(self._price(record) * MILLION), requests=1)
        keys = {day_key(record.provider, bucket): bucket.ends_at}
        self._sums.add(f"{record.request_id}:key", spent, keys)

    def use(self, provider: str) -> KeyUse:
        """Return the dollars spent today by the key of `provider`, from the sums known to this
        gateway.
        """
        bucket = self._day()
        spent = self._sums.sum(day_key(provider, bucket)).micro_usd / MILLION
        return KeyUse(spent, self._usd_per_day[provider], bucket.ends_at)

    async def send(self) -> None:
        """Send the additions still unknown to Redis, and read the sums of today. Raises
        BusUnavailable; the next call sends the rest.
        """
        await self._sums.send()
        bucket = self._day()
        keys = {day_key(provider, bucket): bucket.ends_at for provider in self._usd_per_day}
        # This read also notices a Redis that has started anew, and repeats what it may have lost.
        await self._sums.read(keys)
        self._sums.forget_old()

    def _day(self) -> Bucket:
        return bucket_of("day", self._clock(), "", None)


def day_key(provider: str, bucket: Bucket) -> str:
    """Return Redis' key of the amount spent by the API key of `provider` in `bucket`."""
    return f"spent_by_key:{provider}:{bucket.name}"
