"""The permission service as a process. There is one, so that there is one answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from permission_service.alerts.watch import AlertPolicy
from permission_service.built_in import EDITING
from permission_service.notify.approving_tokens import ApprovingTokens, snapshot_path
from permission_service.notify.browsers import Browsers
from permission_service.notify.notifier import NotifyPolicy
from permission_service.notify.ways import ways_of
from permission_service.notify.web_push import WebPush
from permission_service.requests import PermissionRequests
from permission_service.rule_book import FromSettings, RuleBook
from permission_service.server import PermissionServer
from permission_service.store import RequestStore
from shared.bus import Bus
from shared.bus.alerts import LIMIT_REPORTS
from shared.bus.channels import PERMISSION_QUERIES, PERMISSION_REQUESTS
from shared.bus.serving import serve_each
from shared.bus.session_reports import SESSION_REPORTS
from shared.permissions.claude_rules import read_allowed_tools
from shared.permissions.protected import ProtectedPaths
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.metric_snapshots import publish_snapshots
from shared.runtime.metrics import Metrics, PermissionMetrics
from shared.runtime.process import instance_name, run_service
from shared.settings.places import state_dir
from shared.settings.tree import Settings, load_settings

SERVICE = "permission_service"
KEY_FILE = "web-push.key"
ASKS_AT_ONCE = 1000  # each waits for a person, and people are slow
QUESTIONS_AT_ONCE = 200  # a watching terminal takes one for as long as it is there
REPORTS_AT_ONCE = 20  # of spending limits or of sessions; each is one write
RETRY_SECONDS = 0.5


def main() -> None:
    run_service(SERVICE, run_permission_service)


async def run_permission_service(settings: Settings, stop: asyncio.Event) -> None:
    instance = instance_name()
    metrics = Metrics()
    security = settings.security
    async with (
        Bus(settings.redis.address(), service=SERVICE, instance=instance) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        rules = RuleBook(
            bus, security.permission_rules_file, time.time, rules_from_settings(settings)
        )
        requests = PermissionRequests(
            security.confirmation_timeout_seconds, security.max_open_requests
        )
        server = PermissionServer(
            requests,
            RequestStore(bus),
            rules,
            bus,
            PermissionMetrics(metrics),
            protected=ProtectedPaths.of(settings, Path.cwd(), Path.home()),
            deny_without_watcher=security.deny_without_watcher,
            hooks_ask=security.hooks_ask,
            notify_by=ways_of(settings.notify, time.time),
            notify=NotifyPolicy(
                settings.notify.details, settings.notify.quiet_hours, settings.notify.alerts
            ),
            alerts=AlertPolicy(
                settings.notify.alert_percent / 100, settings.notify.alert_login_days
            ),
            web_push=web_push_of(settings, bus),
        )
        if not await loaded(server, stop):
            return
        tasks.create_task(
            publish_snapshots(bus, metrics, service=SERVICE, instance=instance, stop=stop)
        )
        orphans = tasks.create_task(server.withdraw_orphans())
        returns = tasks.create_task(server.hand_back_on_return())
        notifications = tasks.create_task(server.notify_owner())
        alerts = tasks.create_task(server.watch_for_alerts())
        tasks.create_task(
            serve_each(bus, PERMISSION_REQUESTS, server.ask, slots=ASKS_AT_ONCE, stop=stop)
        )
        tasks.create_task(
            serve_each(bus, PERMISSION_QUERIES, server.answer, slots=QUESTIONS_AT_ONCE, stop=stop)
        )
        tasks.create_task(
            serve_each(
                bus, LIMIT_REPORTS, server.take_limit_report, slots=REPORTS_AT_ONCE, stop=stop
            )
        )
        tasks.create_task(
            serve_each(
                bus, SESSION_REPORTS, server.take_session_report, slots=REPORTS_AT_ONCE, stop=stop
            )
        )
        await stop.wait()
        orphans.cancel()
        returns.cancel()
        notifications.cancel()
        alerts.cancel()


def web_push_of(settings: Settings, bus: Bus) -> WebPush | None:
    """Return the way to subscribed browsers, or None when the owner has switched it off."""
    if not settings.notify.web_push:
        return None
    tokens = ApprovingTokens(settings.security, lambda: load_settings().security, snapshot_path())
    browsers = Browsers(bus, tokens, time.time, settings.notify.push_hosts)
    return WebPush(browsers, settings.notify, state_dir() / KEY_FILE)


def rules_from_settings(settings: Settings) -> FromSettings:
    """Return the allow rules from the settings of Claude Code's own permissions."""
    options = settings.claude.code_options
    built_in = (EDITING,) if options.permission_mode == "acceptEdits" else ()
    origin = "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS"
    try:
        rules = read_allowed_tools(options.allowed_tools or [])
    except ClientError as error:
        return FromSettings(built_in=built_in, problem=f"{origin}: {error.message}")
    return FromSettings(tuple(rules), origin, built_in)


async def loaded(server: PermissionServer, stop: asyncio.Event) -> bool:
    """Load the stored requests, waiting for Redis without a limit. Return False if `stop` came
    first.
    """
    while not stop.is_set():
        try:
            await server.load()
        except BusUnavailable:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
        else:
            return True
    return False
