"""The desk: asks, and what becomes of each. pending → allowed, denied, expired or cancelled; the first answer stays.

Pure: no clock, no bus. What a tool may do is decided here and nowhere else, and in doubt the answer is no.
"""

from __future__ import annotations

from shared.channels import Outcome, PermissionAsk, PermissionDecision
from shared.errors import NotFound

NOBODY_THERE = "Nobody is there to decide whether this tool may act, so it may not."


class Desk:
    """The asks that are open, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[str, PermissionAsk] = {}

    def pending(self) -> list[PermissionAsk]:
        return list(self._pending.values())

    def open(self, ask: PermissionAsk) -> PermissionDecision:
        """Lay an ask on the desk. Nobody can sit at it yet, so it is denied at once."""
        self._pending[ask.request_id] = ask
        return self.decide(ask.request_id, "denied", NOBODY_THERE)

    def decide(self, request_id: str, outcome: Outcome, message: str = "") -> PermissionDecision:
        """Settle a pending ask. Raises NotFound when it is not, or no longer, pending."""
        if self._pending.pop(request_id, None) is None:
            raise NotFound(f"No permission request {request_id!r} is pending.")
        return PermissionDecision(request_id, outcome, message)
