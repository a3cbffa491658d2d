"""The conditions and alerts of the service: one value in Redis, written whole.

Invariants: a decision is stored before anybody hears of it, and a decision that cannot be stored
changes nothing: it is made again. So a restart loses no alert and repeats none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from permission_service.alerts.alert import Alert, Condition, Decision
from permission_service.alerts.windows import Conditions
from permission_service.notices import Notices
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.runtime.errors import ClientError
from shared.runtime.log import get_log
from shared.runtime.metrics import PermissionMetrics
from shared.runtime.times import iso_time
from shared.settings.notify import AlertKind

ALERTS_KEY = "permission:alerts"
# Redis keeps nothing without an end. Every change renews it.
ALERTS_SECONDS = 366 * 86_400.0
KEPT = 50  # alerts, for people to look back
# An end is news for some hours: it waits for the end of quiet hours, and for no longer.
END_SECONDS = 12 * 3600.0

Decide = Callable[[Conditions], Iterable[Decision]]


@dataclass(frozen=True, slots=True)
class AlertState:
    """The value in Redis."""

    conditions: list[Condition] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


class AlertBook:
    """The only writer of the conditions and alerts. Call `load` before the rest."""

    def __init__(
        self, bus: Bus, notices: Notices, metrics: PermissionMetrics, clock: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._notices = notices
        self._metrics = metrics
        self._clock = clock
        self._conditions: dict[tuple[AlertKind, str], Condition] = {}
        self._alerts: list[Alert] = []
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Load the state of the previous process. Raises BusUnavailable."""
        data = (await self._bus.scan(ALERTS_KEY)).get(ALERTS_KEY)
        if data is None:
            return
        try:
            state = decode_payload(AlertState, data)
        except ClientError as error:
            # Written by a version with another format: what holds is decided again.
            get_log().warning("alerts_not_read", problem=error.message)
            return
        self._conditions = {(each.kind, each.subject): each for each in state.conditions}
        self._alerts = state.alerts

    async def settle(self, decide: Decide) -> None:
        """Store and announce the decisions of `decide` on the present conditions. Raises
        BusUnavailable; then all conditions are unchanged.
        """
        async with self._one_at_a_time:
            decisions = list(decide(self._conditions))
            if not decisions:
                return
            conditions = dict(self._conditions)
            for decision in decisions:
                conditions.pop(decision.key, None)
                if decision.condition is not None:
                    conditions[decision.key] = decision.condition
            raised = [decision.alert for decision in decisions if decision.alert is not None]
            await self._store(conditions, [*self._alerts, *raised][-KEPT:])
            for alert in raised:
                await self._announce(alert)

    def waiting(self, way: str) -> Iterator[Alert]:
        """Yield the alerts that `way` has to send: neither sent, nor out of date."""
        return (alert for alert in self._alerts if self._waits(alert, way))

    def waits(self, alert_id: str, way: str) -> bool:
        """Return True while `way` has to send the alert."""
        return any(alert.id == alert_id for alert in self.waiting(way))

    async def mark(self, alert_id: str, way: str, *, sent: bool) -> None:
        """Note that `way` has sent the alert or is about to, or, with `sent` False, that the alert
        did not leave after all. Raises BusUnavailable.
        """

        def marked(alert: Alert) -> Alert:
            if alert.id != alert_id:
                return alert
            others = [name for name in alert.ways if name != way]
            return replace(alert, ways=[*others, way] if sent else others)

        async with self._one_at_a_time:
            await self._store(self._conditions, [marked(alert) for alert in self._alerts])

    def knows(self, alert_id: str) -> bool:
        """Return True while the alert is kept."""
        return any(alert.id == alert_id for alert in self._alerts)

    def show(self) -> list[dict[str, Any]]:
        """Return the kept alerts as events for people, oldest first."""
        return [
            {"type": "alert", **_shown(alert), "at": iso_time(alert.at)} for alert in self._alerts
        ]

    def _waits(self, alert: Alert, way: str) -> bool:
        if way in alert.ways:
            return False
        now = self._clock()
        if alert.after:
            # The end of something is news for those who know of its beginning.
            begun = next((each for each in self._alerts if each.id == alert.after), None)
            return begun is not None and way in begun.ways and now - alert.at < END_SECONDS
        condition = self._conditions.get((alert.kind, alert.subject))
        is_latest = condition is not None and condition.alert_id == alert.id
        return is_latest and not (condition and 0 < condition.ends_at <= now)

    async def _store(
        self, conditions: dict[tuple[AlertKind, str], Condition], alerts: list[Alert]
    ) -> None:
        data = encode_payload(AlertState(list(conditions.values()), alerts))
        await self._bus.put(ALERTS_KEY, data, ttl=ALERTS_SECONDS)
        self._conditions = conditions
        self._alerts = alerts

    async def _announce(self, alert: Alert) -> None:
        self._metrics.alerts.labels(alert.kind).inc()
        get_log().warning(
            "alert",
            kind=alert.kind,
            subject=alert.subject,
            level=alert.level,
            title=alert.title,
            text=alert.text,
        )
        await self._notices.add("alert", _shown(alert))


def _shown(alert: Alert) -> dict[str, Any]:
    """Return the fields of an alert that people and programs see."""
    return {
        "id": alert.id,
        "kind": alert.kind,
        "subject": alert.subject,
        "level": alert.level,
        "title": alert.title,
        "text": alert.text,
    }
