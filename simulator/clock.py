"""The simulator's clock for lifetimes of cached prompts. A test moves it on instead of waiting.

Invariant: the clock never goes back.
"""

from __future__ import annotations

import time


class SimulatedClock:
    """Seconds that pass as in reality, and jump forward when asked."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def forward(self, seconds: float) -> float:
        """Move the clock on by `seconds`, and return how far it is ahead by now."""
        self._ahead += max(0.0, seconds)
        return self._ahead
