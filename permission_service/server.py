"""The permission service without its process: the parts, and what a start and an end need.

`Changes` is the only writer. `Askers` and `Queries` serve one channel each, `Rulings` is what rules
decide for either, and `PermissionWatchers` and `Notifier` hear of every change. `AlertWatch`
decides alerts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from permission_service.alerts.book import AlertBook
from permission_service.alerts.sources import StackSources
from permission_service.alerts.watch import AlertPolicy, AlertWatch
from permission_service.askers import Askers
from permission_service.changes import Changes
from permission_service.decision import Policy
from permission_service.notice_board import NoticeBoard
from permission_service.notices import Notices
from permission_service.notify.notifier import Notifier, NotifyPolicy
from permission_service.notify.ways import Way
from permission_service.notify.web_push import WebPush
from permission_service.past import PastRequests
from permission_service.presence import AsksPerson, Presence
from permission_service.profile_switch import ProfileSwitch
from permission_service.queries import Queries
from permission_service.replay import Replays
from permission_service.report_book import ReportBook
from permission_service.requests import PermissionRequests
from permission_service.rule_book import RuleBook
from permission_service.rulings import Rulings
from permission_service.store import RequestStore
from permission_service.watchers import PermissionWatchers
from shared.bus import Bus, Delivery
from shared.permissions.protected import ProtectedPaths
from shared.runtime.metrics import PermissionMetrics

ORPHAN_SECONDS = 10.0  # a living asker's call is delivered again within three


class PermissionServer:
    """Serves the two channels of permissions. Call `load` before serving. `alerts` are the decided
    alerts, and `reports` those of managed sessions.
    """

    def __init__(
        self,
        requests: PermissionRequests,
        stored_requests: RequestStore,
        rules: RuleBook,
        bus: Bus,
        metrics: PermissionMetrics,
        clock: Callable[[], float] = time.time,
        protected: ProtectedPaths | None = None,
        *,
        deny_without_watcher: bool = False,
        hooks_ask: AsksPerson = "away",
        notify_by: Sequence[Way] = (),
        notify: NotifyPolicy | None = None,
        alerts: AlertPolicy | None = None,
        web_push: WebPush | None = None,
    ) -> None:
        protected = protected or ProtectedPaths((), home="/")
        policy = Policy(rules, protected)
        changes = Changes(requests, stored_requests, bus, metrics, clock)
        rulings = Rulings(policy, rules, requests, changes, bus, clock)
        notices = Notices(changes)
        watchers = PermissionWatchers(requests, changes, notices)
        self._presence = Presence(bus, watchers, notices, clock, hooks_ask)
        rules.is_away = lambda: self._presence.owner_is_away
        self._profiles = ProfileSwitch(rules, rulings, notices, bus, clock)
        self.alerts = AlertBook(bus, notices, metrics, clock)
        self.reports = ReportBook(bus, notices, changes, clock)
        self._alert_watch = AlertWatch(
            self.alerts, StackSources(bus), alerts or AlertPolicy(), clock
        )
        self._notifier = Notifier(
            [*notify_by, *([web_push] if web_push is not None else [])],
            notify or NotifyPolicy(),
            requests,
            changes,
            notices,
            self.alerts,
            self.reports,
            self._presence,
            bus,
            metrics,
            clock,
        )
        self._web_push = web_push
        self._requests = requests
        self._store = stored_requests
        self._rules = rules
        self._askers = Askers(
            requests,
            changes,
            policy,
            rulings,
            watchers,
            self._presence,
            clock,
            deny_without_watcher=deny_without_watcher,
        )
        self._queries = Queries(
            requests,
            changes,
            policy,
            rules,
            rulings,
            watchers,
            self._presence,
            self._profiles,
            NoticeBoard(notices, self.alerts),
            self._notifier,
            web_push,
            Replays(PastRequests(bus), rules, protected, clock),
            clock,
        )

    async def load(self) -> None:
        """Load the requests of the previous process. Raises BusUnavailable."""
        await self._rules.load()
        await self._presence.load()
        for stored in await self._store.load():
            self._requests.keep(stored)
        await self.alerts.load()
        await self.reports.load()
        if self._web_push is not None:
            await self._web_push.browsers.load()
        await self._notifier.load()
        self._profiles.begin()

    async def withdraw_orphans(self, after: float = ORPHAN_SECONDS) -> None:
        """End the requests of the previous process whose askers have not come back in `after`
        seconds. Raises BusUnavailable.
        """
        await self._askers.withdraw_orphans(after)

    async def hand_back_on_return(self) -> None:
        """Leave the waiting requests of hooks to the agents' own terminals whenever the owner
        returns, and put the profiles for away times in force and out, without an end. Raises
        BusUnavailable.
        """
        await self._presence.hand_back(self._askers.hand_back, self._profiles.look_again)

    async def notify_owner(self) -> None:
        """Send notifications of waiting requests, of alerts, of managed sessions and of the agents'
        news, without an end.
        """
        await self._notifier.run()

    async def watch_for_alerts(self) -> None:
        """Decide alerts from the state of the stack, without an end."""
        await self._alert_watch.run()

    async def take_limit_report(self, delivery: Delivery) -> None:
        """Decide on the reported use of a spending limit."""
        await self._alert_watch.take(delivery)

    async def take_session_report(self, delivery: Delivery) -> None:
        """Keep the report of a managed session, for notifications."""
        await self.reports.take(delivery)

    async def ask(self, delivery: Delivery) -> None:
        """Send the decision on a request. Raises ClientError, BusUnavailable."""
        await self._askers.ask(delivery)

    async def answer(self, delivery: Delivery) -> None:
        """Send the reply to a person. Raises ClientError, NotFound, Conflict, Gone,
        NotAllowed.
        """
        await self._queries.answer(delivery)
