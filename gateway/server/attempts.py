"""Wrong tokens, slowed by address.

An address may send a few wrong tokens at once and then one now and then; until then the gateway
refuses its requests without comparing tokens. The counts are kept in memory by each gateway
process: a guess costs its time, whichever process is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.server.forwarded import counted_address
from shared.runtime.errors import Busy

MOST_ADDRESSES = 10_000  # stored at once; the oldest is removed first


class Attempts:
    """Refuses an address after `burst` failures; after every `seconds` a further failure is
    forgiven.
    """

    def __init__(
        self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        # The time at which all failures of an address are forgiven.
        self._forgiven_at: dict[str, float] = {}

    def check(self, address: str) -> None:
        """Raise Busy with `retry-after` while `address` has failed too often."""
        left = self._forgiven_at.get(counted_address(address), 0.0) - self._clock()
        # Every failure moves the forgiveness of the address `seconds` further away. The address is
        # refused while the forgiveness is further away than `burst - 1` failures move it.
        wait = left - (self._burst - 1) * self._seconds
        if wait > 0:
            seconds = int(wait) + 1
            raise Busy(
                f"Too many wrong tokens came from your address; try again in {seconds} s.",
                headers={"retry-after": str(seconds)},
            )

    def fail(self, address: str) -> None:
        """Count a failure of `address`."""
        key = counted_address(address)
        now = self._clock()
        # Taken out and set again, so that the dictionary stays in the order of the last failures.
        forgiven_at = max(self._forgiven_at.pop(key, now), now) + self._seconds
        self._forgiven_at[key] = forgiven_at
        if len(self._forgiven_at) > MOST_ADDRESSES:
            del self._forgiven_at[next(iter(self._forgiven_at))]
