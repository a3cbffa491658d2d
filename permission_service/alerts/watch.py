"""The task that decides alerts: it looks at the state of the stack again and again, and takes the
reports of spending limits as they come.

It compares, as the notifier does: what it missed while it was away is still there at its next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from permission_service.alerts.alert import Decision
from permission_service.alerts.book import AlertBook
from permission_service.alerts.keys import decide_keys
from permission_service.alerts.limits import decide_limit
from permission_service.alerts.logins import decide_logins
from permission_service.alerts.providers import decide_providers
from permission_service.alerts.sources import Sources
from permission_service.alerts.windows import Conditions, decide_windows
from shared.bus import Delivery
from shared.bus.alerts import LimitReport
from shared.bus.channels import decode_payload
from shared.runtime.background import repeat
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.log import get_log

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """The thresholds of alerts: `limit`, the used fraction of a window or a spending limit, and
    `login_days` before the end of a login.

    `first_seconds` pass before the first look, because the parts of a stack that starts are away
    for a moment. A provider has recovered once it has not failed for `calm_seconds`.
    """

    limit: float = 0.8
    login_days: float = 7.0
    first_seconds: float = 60.0
    look_seconds: float = 15.0
    calm_seconds: float = 600.0


class AlertWatch:
    """Decides alerts by `policy` from `sources`, and hands them to `book`."""

    def __init__(
        self,
        book: AlertBook,
        sources: Sources,
        policy: AlertPolicy,
        clock: Callable[[], float],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._book = book
        self._sources = sources
        self._policy = policy
        self._clock = clock
        self._retry_seconds = retry_seconds

    async def run(self) -> None:
        """Look at the stack, without an end."""
        await asyncio.sleep(self._policy.first_seconds)
        await repeat(self.look, every=self._policy.look_seconds)

    async def look(self) -> None:
        """Decide on every condition by the present state of all sources. Raises BusUnavailable."""
        policy = self._policy
        quotas = await self._sources.quotas()
        logins = await self._sources.logins()
        key_windows = await self._sources.key_windows()
        outcomes = await self._sources.outcomes()
        now = self._clock()

        def decide(conditions: Conditions) -> Iterator[Decision]:
            yield from decide_windows(conditions, quotas, policy.limit, now)
            yield from decide_logins(conditions, logins, policy.login_days, now)
            yield from decide_keys(conditions, key_windows, now)
            if outcomes is not None:
                yield from decide_providers(conditions, outcomes, policy.calm_seconds, now)

        await self._book.settle(decide)

    async def take(self, delivery: Delivery) -> None:
        """Decide on a report of LIMIT_REPORTS. Return when the decision is stored, or the report
        cannot be read.
        """
        try:
            use = decode_payload(LimitReport, delivery.payload)
        except ClientError as error:
            get_log().warning("limit_report_refused", reason=error.message)
            return
        while True:
            try:
                await self._book.settle(
                    lambda conditions: decide_limit(
                        conditions, use, self._policy.limit, self._clock()
                    )
                )
            except BusUnavailable:
                await asyncio.sleep(self._retry_seconds)
            else:
                return
