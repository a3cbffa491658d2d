"""The reports of managed sessions that notifications are made of: each in Redis with the ways that
have sent it.

A report comes at least once, as a delivery of SESSION_REPORTS. It is stored before the delivery is
settled, and known by its id, so a repetition changes nothing and a restart loses nothing.

Programs get every report. People get the latest of a session, and only those that are for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace

from permission_service.changes import Changes
from permission_service.notices import Notices
from permission_service.notify.ways import Webhook
from shared.bus import Bus, Delivery
from shared.bus.channels import decode_payload, encode_payload
from shared.bus.session_reports import SessionReport
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.log import get_log

REPORT_PREFIX = "permission:report:"
# The end of quiet hours comes within this time, and repetitions of a delivery come much earlier.
KEPT_SECONDS = 86_400.0
KEPT = 2_000
RETRY_SECONDS = 1.0
FOR_PROGRAMS = frozenset({Webhook.name})  # the ways whose receivers are programs


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report in Redis. `ways` names the ways that have sent it, or are about to."""

    report: SessionReport
    ways: list[str] = field(default_factory=list)


class ReportBook:
    """The only writer of the reports. Call `load` before the rest."""

    def __init__(
        self,
        bus: Bus,
        notices: Notices,
        changes: Changes,
        clock: Callable[[], float],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._bus = bus
        self._notices = notices
        self._changes = changes
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._kept: dict[str, KeptReport] = {}

    async def load(self) -> None:
        """Load the reports of the previous process. Raises BusUnavailable."""
        found = []
        for data in (await self._bus.scan(REPORT_PREFIX)).values():
            try:
                found.append(decode_payload(KeptReport, data))
            except ClientError as error:  # written by a version with another format
                get_log().warning("session_report_not_read", problem=error.message)
        found.sort(key=lambda kept: kept.report.at)
        self._kept = {kept.report.id: kept for kept in found}

    async def take(self, delivery: Delivery) -> None:
        """Keep the report in a delivery. Return once it is stored, or cannot be read."""
        try:
            report = decode_payload(SessionReport, delivery.payload)
        except ClientError as error:
            get_log().warning("session_report_refused", reason=error.message)
            return
        while True:
            try:
                await self.add(report)
            except BusUnavailable:
                await asyncio.sleep(self._retry_seconds)
            else:
                return

    async def add(self, report: SessionReport) -> None:
        """Store a report, and announce it; a known one changes nothing. Raises BusUnavailable."""
        if report.id in self._kept:
            return
        self._forget_old()
        await self._store(KeptReport(report))
        get_log().info("session_report", session=report.session_id, outcome=report.outcome)
        if report.is_for_person:
            await self._notices.add("notice", notice_of(report), report.caller)
        else:
            self._changes.wake()

    def waiting(self, way: str) -> Iterator[SessionReport]:
        """Yield the reports that `way` has to send, oldest first."""
        newest = {kept.report.session_id: kept.report.id for kept in self._kept.values()}
        for kept in self._kept.values():
            report = kept.report
            is_wanted = way in FOR_PROGRAMS or (
                report.is_for_person and newest[report.session_id] == report.id
            )
            if is_wanted and way not in kept.ways and self._is_young(report):
                yield report

    def waits(self, report_id: str, way: str) -> bool:
        """Return True while `way` has to send the report."""
        return any(report.id == report_id for report in self.waiting(way))

    async def mark(self, report_id: str, way: str, *, sent: bool) -> None:
        """Note that `way` has sent the report or is about to, or, with `sent` False, that it did
        not leave after all. Raises BusUnavailable.
        """
        kept = self._kept.get(report_id)
        if kept is None:
            return
        others = [name for name in kept.ways if name != way]
        await self._store(replace(kept, ways=[*others, way] if sent else others))

    def knows(self, report_id: str) -> bool:
        """Return True while the report is kept."""
        return report_id in self._kept

    def _is_young(self, report: SessionReport) -> bool:
        return self._clock() - report.at < KEPT_SECONDS

    def _forget_old(self) -> None:
        # Reports are kept in the order of their arrival. The keys in Redis end by themselves.
        while self._kept:
            oldest = next(iter(self._kept.values())).report
            if len(self._kept) < KEPT and self._is_young(oldest):
                return
            del self._kept[oldest.id]

    async def _store(self, kept: KeptReport) -> None:
        # In memory first: two ways that change their marks at once both see the other's mark, and
        # the write that comes last holds both.
        before = self._kept.get(kept.report.id)
        self._kept[kept.report.id] = kept
        try:
            key = REPORT_PREFIX + kept.report.id
            await self._bus.put(key, encode_payload(kept), ttl=KEPT_SECONDS)
        except BusUnavailable:
            if before is None:
                # Not stored, so not known: its delivery comes again.
                del self._kept[kept.report.id]
            raise


def notice_of(report: SessionReport) -> dict[str, str]:
    """Return a report as news of an agent, for the pages and `ccproxy notify list`."""
    facts = asdict(report)
    told = {name: facts[name] for name in ("session_id", "folder", "text", "caller")}
    return told | {"kind": report.outcome, "program": report.agent, "report": report.id}
