"""The prefixes of prompts that a simulated provider keeps, each for a lifetime that begins anew
with every use.

Invariant: a prefix that was not used for its lifetime is not found any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from simulator.clock import SimulatedClock


class KeptPrefixes:
    """Digests of prefixes with their lifetimes, bounded in number: the longest unused goes."""

    def __init__(self, most: int, clock: SimulatedClock | None = None) -> None:
        self._most = most
        self._clock = clock or SimulatedClock()
        self._kept: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # end, lifetime

    def __contains__(self, prefix: bytes) -> bool:
        end, _ = self._kept.get(prefix, (0.0, 0.0))
        return self._clock.now() < end

    def use(self, prefixes: Iterable[bytes]) -> None:
        """Begin the lifetimes of known prefixes anew."""
        for prefix in prefixes:
            _, lifetime = self._kept[prefix]
            self.keep(prefix, lifetime)

    def keep(self, prefix: bytes, lifetime: float) -> None:
        """Keep `prefix` for `lifetime` seconds from now."""
        self._kept[prefix] = self._clock.now() + lifetime, lifetime
        self._kept.move_to_end(prefix)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
