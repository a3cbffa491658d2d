"""Who is alive: a process that keeps changing the value under its key. And how patient everybody is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. `beat`: between heartbeats; `lease`: silence after which a process counts as gone, and after which what
    it had not accepted goes to others; `no_worker`: how long a call waits for a channel nobody serves; `patience`: how
    long a verb waits for a lost Redis; `outage`: how long calls in flight do; `inbox`: how long an inbox outlives its
    owner's last heartbeat: a machine that sleeps less long than this loses no call."""

    beat: float = 1.0
    lease: float = 3.0
    no_worker: float = 5.0
    patience: float = 0.5
    outage: float = 10.0
    inbox: float = 600.0


DEFAULT_TIMINGS = Timings()


class Watch:
    """Who has fallen silent: counts how many looks in a row found a key's value unchanged, or no value at all.

    Counted in looks that succeeded, so that a time in which Redis was away is held against nobody.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[bytes | None, int]] = {}

    def look(self, values: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
        """Silent looks in a row by key. A key left out of `values` is forgotten."""
        seen = {}
        for key, value in values:
            before, silent = self._seen.get(key, (b"", 0))
            seen[key] = (value, silent + 1 if value is None or value == before else 0)
        self._seen = seen
        return {key: silent for key, (_, silent) in seen.items()}
