"""Permission requests that rules decide: at their opening, and while they wait, when a rule comes.

Invariant: a request is settled by a rule inside a change, so a person's earlier answer stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from permission_service.changes import Changes
from permission_service.decision import Policy, answer_of
from permission_service.requests import PermissionRequests, StoredRequest
from permission_service.rule_book import RuleBook
from shared.bus import Bus


class Rulings:
    """The requests settled by `policy`. `bus` shows a problem of the rules."""

    def __init__(
        self,
        policy: Policy,
        rules: RuleBook,
        requests: PermissionRequests,
        changes: Changes,
        bus: Bus,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._requests = requests
        self._changes = changes
        self._bus = bus
        self._clock = clock

    def settled(self, stored: StoredRequest) -> StoredRequest | None:
        """Return the request as settled by the rules; None when no rule decides."""
        now = self._clock()
        if stored.status != "pending" or stored.is_overdue(now):
            return None
        ruling = self._policy.decide(stored.ask)
        # The decision may have read the rules file again, so a problem of the file is shown from
        # here on.
        self._bus.describe(problem=self._rules.notice)
        return (
            self._requests.settle(stored.id, answer_of(ruling), now) if ruling is not None else None
        )

    async def apply(self) -> None:
        """Settle waiting requests by the rules in force now. Raises BusUnavailable."""
        for stored in self._requests.pending():
            # A first look without a change spares the requests that the new rule does not concern a
            # write to Redis.
            if self.settled(stored) is None:
                continue
            # Ruled on again inside the change: a person may have answered since the first look.
            await self._changes.make(partial(self._settle_by_rule, stored.id))

    def _settle_by_rule(self, request_id: str) -> StoredRequest:
        stored = self._requests.find(request_id)
        return self.settled(stored) or stored
