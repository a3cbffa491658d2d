"""The signs of life of processes (a process keeps changing the value under its key), and the bus's
time limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """The times of the bus, in seconds.

    `beat`: between heartbeats; `lease`: silence after which a process counts as gone, and after
    which the deliveries it had not accepted go to other servers; `no_worker`: the wait of a call on
    a channel without a server; `reconnect`: the wait of a verb for a lost Redis; `outage`: the wait
    of calls in progress for a lost Redis; `inbox`: the life of an inbox after its owner's last
    heartbeat: a machine that sleeps less long than this loses no call.
    """

    beat: float = 1.0
    lease: float = 3.0
    no_worker: float = 5.0
    reconnect: float = 0.5
    outage: float = 10.0
    inbox: float = 600.0


DEFAULT_TIMINGS = Timings()


class Watch:
    """The silence of other processes: the number of looks in a row with an unchanged or absent
    value of a key.

    Only looks that succeeded are counted, so that a time in which Redis was away is held against no
    process.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[bytes | None, int]] = {}

    def look(self, values: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
        """Silent looks in a row by key. A key left out of `values` is forgotten."""
        # A new dict each time: a key that nobody watches any more drops out, so its silence is not
        # counted on when it is watched again.
        seen = {}
        for key, value in values:
            before, silent = self._seen.get(key, (b"", 0))
            seen[key] = (value, silent + 1 if value is None or value == before else 0)
        self._seen = seen
        return {key: silent for key, (_, silent) in seen.items()}
