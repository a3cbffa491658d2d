"""The permission service as a process. There is one, so that there is one answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from permission_service.built_in import EDITING
from permission_service.requests import PermissionRequests
from permission_service.server import PermissionServer
from permission_service.store import FromSettings, RequestStore, RuleBook
from shared.bus import Bus
from shared.bus.channels import PERMISSION_QUERIES, PERMISSION_REQUESTS
from shared.bus.serving import serve_each
from shared.permissions.claude_rules import read_allowed_tools
from shared.permissions.protected import ProtectedPaths
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.metrics import Metrics, PermissionMetrics, publish_snapshots
from shared.runtime.process import instance_name, run_service
from shared.settings.tree import Settings

SERVICE = "permission_service"
ASKS_AT_ONCE = 1000  # each waits for a person, and people are slow
QUESTIONS_AT_ONCE = 200  # a watching terminal takes one for as long as it is there
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
        )
        if not await loaded(server, stop):
            return
        tasks.create_task(
            publish_snapshots(bus, metrics, service=SERVICE, instance=instance, stop=stop)
        )
        orphans = tasks.create_task(server.withdraw_orphans())
        tasks.create_task(
            serve_each(bus, PERMISSION_REQUESTS, server.ask, slots=ASKS_AT_ONCE, stop=stop)
        )
        tasks.create_task(
            serve_each(bus, PERMISSION_QUERIES, server.answer, slots=QUESTIONS_AT_ONCE, stop=stop)
        )
        await stop.wait()
        orphans.cancel()


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
