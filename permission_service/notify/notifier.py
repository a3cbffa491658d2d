"""The notifier: watches permission requests, alerts, reports of managed sessions and news, and
sends each once by every way.

It compares: a pending request without a mark of a way is sent by it, whether it opened a moment ago
or before a restart. So nothing has to be handed over, and a decision never waits for a message.

Invariants: a request is sent only after it is stored. A request that ended is not sent. After a
restart no way sends a request a second time; a webhook may, with the same event id.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, get_args

from permission_service.alerts.book import AlertBook
from permission_service.away import LocalTime
from permission_service.changes import Changes
from permission_service.notices import Notice, Notices
from permission_service.notify.attempts import PAUSES, SendAttempts
from permission_service.notify.links import AnswerLinks, LinkTokens
from permission_service.notify.marked import MarkedAttempt, send_marked
from permission_service.notify.messages import (
    Notification,
    alert_message,
    ended_message,
    news_message,
    report_message,
    request_message,
    trial_message,
)
from permission_service.notify.posting import SendFailed
from permission_service.notify.ways import Way
from permission_service.presence import Presence
from permission_service.report_book import ReportBook
from permission_service.requests import PermissionRequests, RequestAnswer, StoredRequest
from shared.bus import Bus
from shared.runtime.errors import BusUnavailable, Conflict, Gone
from shared.runtime.metrics import PermissionMetrics
from shared.runtime.times import in_daily_window
from shared.settings.notify import AlertKind

# Behind the name of a way: its mark of a request whose end it has sent.
ENDED = ".ended"
# A name with a blank is no token's name.
THROUGH_NTFY = "through ntfy"
# Quiet hours end by the clock alone, so the requests are looked at again after it.
LOOK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NotifyPolicy:
    """The content and the times of notifications: `details` of inputs or none, and no message in
    `quiet_hours`, a window in the time that `local` returns for UTC seconds. `alerts` are the kinds
    to send.
    """

    details: bool = False
    quiet_hours: str = ""
    alerts: Collection[AlertKind] = get_args(AlertKind)
    pauses: tuple[float, ...] = PAUSES
    local: LocalTime = datetime.fromtimestamp


class Notifier:
    """Sends by `ways`. Call `load` before `run`."""

    def __init__(
        self,
        ways: list[Way],
        policy: NotifyPolicy,
        requests: PermissionRequests,
        changes: Changes,
        notices: Notices,
        alerts: AlertBook,
        reports: ReportBook,
        presence: Presence,
        bus: Bus,
        metrics: PermissionMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._ways = ways
        self._policy = policy
        self._requests = requests
        self._changes = changes
        self._notices = notices
        self._alerts = alerts
        self._reports = reports
        self._presence = presence
        self._clock = clock
        self._links = AnswerLinks(requests, bus)
        self._attempts = {way.name: SendAttempts(way.name, metrics, policy.pauses) for way in ways}
        # The names of the ways and the ids of their requests that this process has begun to send.
        self._begun: set[tuple[str, str]] = set()
        self._begun_alerts: set[tuple[str, str]] = set()
        self._begun_reports: set[tuple[str, str]] = set()

    async def load(self) -> None:
        """Load the marks and links of the previous process. Raises BusUnavailable."""
        await self._links.load()

    async def run(self) -> None:
        """Send all waiting messages, without an end."""
        seen = self._requests.last_number
        async with asyncio.TaskGroup() as tasks:
            while self._ways:
                # Taken before the look, as in `PermissionWatchers`: a change during the look ends
                # the wait at once.
                news = self._changes.news
                latest = self._requests.last_number
                if not self._is_quiet():
                    self._begin_requests(tasks)
                    self._begin_alerts(tasks)
                    self._begin_reports(tasks)
                    self._begin_ends(tasks)
                    self._begin_news(tasks, seen)
                seen = latest
                self._forget_ended()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                        await news.wait()

    async def answer(self, digest: str) -> dict[str, Any]:
        """Settle the request of the link with `digest` by the link's answer, and return the
        outcome.

        Raises Gone for a link that is used up, and BusUnavailable.
        """
        request_id, allowed = self._links.find(digest)
        answer = RequestAnswer(allowed, THROUGH_NTFY)
        try:
            settled = await self._changes.make(
                lambda: self._requests.settle(request_id, answer, self._clock()), patient=False
            )
        except Conflict as error:
            # Another answer, or the end of the time, came first.
            raise Gone(error.message) from error
        return {"permission_id": request_id, "allowed": settled.status == "allowed"}

    async def try_all(self) -> list[dict[str, Any]]:
        """Send a test message once by every way, also in quiet hours. Return the ways with `sent`
        and the receiver's `answer`.
        """
        return [await self._try(way) for way in self._ways if way.has_receivers]

    async def _try(self, way: Way) -> dict[str, Any]:
        message = trial_message(f"test-{uuid.uuid4()}", self._clock())
        try:
            answer = await way.send(message, None)
        except SendFailed as error:
            words = f"{error.problem}: {error.answer}" if error.answer else error.problem
            return {"way": way.name, "sent": False, "answer": words}
        return {"way": way.name, "sent": True, "answer": answer}

    def _is_quiet(self) -> bool:
        return in_daily_window(self._policy.quiet_hours, self._policy.local(self._clock()))

    def _begin_requests(self, tasks: asyncio.TaskGroup) -> None:
        for stored in self._requests.pending():
            # A request without a presentation is not stored yet, or a rule is about to decide it.
            if stored.presentation is None:
                continue
            for way in self._ways:
                # A way without receivers is left for the next look: one may subscribe.
                if not way.has_receivers:
                    continue
                key = (way.name, stored.id)
                is_begun = key in self._begun or self._links.has_sent(stored.id, way.name)
                # Without room a request is left for the next look.
                if is_begun or not self._attempts[way.name].has_room:
                    continue
                self._begun.add(key)
                message = request_message(stored, details=self._policy.details)
                attempt = RequestAttempt(
                    way, stored, message, self._requests, self._links, self._clock
                )
                make = partial(self._send_request, attempt)
                self._attempts[way.name].begin(tasks, message.id, make)

    async def _send_request(self, attempt: RequestAttempt) -> bool:
        is_wanted = await attempt.make()
        # A request that ended during the sending had no mark when its end was looked at.
        if not attempt.is_pending():
            self._changes.wake()
        return is_wanted

    def _begin_ends(self, tasks: asyncio.TaskGroup) -> None:
        for way in self._ways:
            if not way.shows_ends:
                continue
            for request_id in self._links.sent_by(way.name):
                if not self._is_end_to_send(way, request_id):
                    continue
                self._begun.add((way.name + ENDED, request_id))
                stored = self._requests.find(request_id)
                message = ended_message(stored, self._clock())
                attempt = partial(self._send_end, way, stored, message)
                self._attempts[way.name].begin(tasks, message.id, attempt)

    def _is_end_to_send(self, way: Way, request_id: str) -> bool:
        name = way.name + ENDED
        if (name, request_id) in self._begun or self._links.has_sent(request_id, name):
            return False
        has_ended = (
            self._requests.knows(request_id) and self._requests.find(request_id).status != "pending"
        )
        return has_ended and self._attempts[way.name].has_room

    async def _send_end(self, way: Way, stored: StoredRequest, message: Notification) -> bool:
        await way.send(message, None)
        # Without the mark the next process sends the end again, which shows the same.
        with contextlib.suppress(BusUnavailable):
            await self._links.mark(stored, way.name + ENDED, self._clock())
        return True

    def _begin_alerts(self, tasks: asyncio.TaskGroup) -> None:
        for way in self._ways:
            attempts = self._attempts[way.name]
            for alert in self._alerts.waiting(way.name):
                key = (way.name, alert.id)
                is_wanted = alert.kind in self._policy.alerts and key not in self._begun_alerts
                # Without room an alert is left for the next look.
                if is_wanted and attempts.has_room:
                    self._begun_alerts.add(key)
                    message = alert_message(alert)
                    attempt = MarkedAttempt(way, message, self._alerts)
                    attempts.begin(tasks, message.id, attempt.make)

    def _begin_reports(self, tasks: asyncio.TaskGroup) -> None:
        for way in self._ways:
            # A way without receivers is left for the next look: one may subscribe.
            if not way.has_receivers:
                continue
            attempts = self._attempts[way.name]
            for report in self._reports.waiting(way.name):
                key = (way.name, report.id)
                # Without room a report is left for the next look.
                if key not in self._begun_reports and attempts.has_room:
                    self._begun_reports.add(key)
                    message = report_message(report, details=self._policy.details)
                    attempt = MarkedAttempt(way, message, self._reports)
                    attempts.begin(tasks, message.id, attempt.make)

    def _begin_news(self, tasks: asyncio.TaskGroup, seen: int) -> None:
        for notice in self._notices.after(seen):
            # At the desk the agent's own terminal is in sight. News with a report is sent as that.
            is_news = notice.name == "notice" and "report" not in notice.data
            if not is_news or not self._presence.owner_is_away:
                continue
            message = self._news_message(notice)
            for way in self._ways:
                if not way.has_receivers:
                    continue
                attempts = self._attempts[way.name]
                if attempts.has_room:
                    attempts.begin(tasks, message.id, partial(_send_news, way, message))
                else:
                    attempts.drop(message.id)

    def _news_message(self, notice: Notice) -> Notification:
        event_id = f"news-{notice.number}"
        now = self._clock()
        return news_message(event_id, notice.data, now, details=self._policy.details)

    def _forget_ended(self) -> None:
        self._links.forget_ended()
        self._begun = {key for key in self._begun if self._requests.knows(key[1])}
        self._begun_alerts = {key for key in self._begun_alerts if self._alerts.knows(key[1])}
        self._begun_reports = {key for key in self._begun_reports if self._reports.knows(key[1])}


async def _send_news(way: Way, message: Notification) -> bool:
    await way.send(message, None)
    return True


class RequestAttempt:
    """The attempts to send a request by one way."""

    def __init__(
        self,
        way: Way,
        stored: StoredRequest,
        message: Notification,
        requests: PermissionRequests,
        links: AnswerLinks,
        clock: Callable[[], float],
    ) -> None:
        self._way = way
        self._stored = stored
        self._requests = requests
        self._links = links
        self._clock = clock
        self._message = message
        self._tokens: LinkTokens | None = None

    async def make(self) -> bool:
        """Send the message. Return False when the request has ended. Raises SendFailed,
        BusUnavailable.
        """
        if not self.is_pending():
            return False
        if self._way.has_buttons and self._tokens is None:
            self._tokens = await self._links.renew(self._stored, self._clock())
        await send_marked(self._way, self._message, self._tokens, self._mark)
        return True

    async def _mark(self, sent: bool) -> None:
        change = self._links.mark if sent else self._links.unmark
        await change(self._stored, self._way.name, self._clock())

    def is_pending(self) -> bool:
        """Return True while the request waits for an answer."""
        known = self._requests.knows(self._stored.id)
        return known and self._requests.find(self._stored.id).status == "pending"
