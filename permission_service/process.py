"""The permission desk as a process. There is one, so that there is one answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from permission_service.built_in import EDITING
from permission_service.desk import Desk
from permission_service.keeping import CaseStore, FromSettings, RuleBook
from permission_service.server import DeskServer
from shared.bus import Bus
from shared.channels import PERMISSION_ASK, PERMISSION_DESK
from shared.errors import BusUnavailable, ClientError
from shared.metrics import DeskMetrics, Metrics, publish_snapshots
from shared.permissions.claude_rules import read_allowed_tools
from shared.permissions.protected import ProtectedPaths
from shared.process import instance_name, run
from shared.serving import serve_each
from shared.settings import Settings

SERVICE = "permission_service"
ASKS_AT_ONCE = 1000  # each waits for a person, and people are slow
QUESTIONS_AT_ONCE = 200  # a watching terminal takes one for as long as it is there
RETRY_SECONDS = 0.5


def main() -> None:
    run(SERVICE, serve)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    instance = instance_name()
    metrics, security = Metrics(), settings.security
    async with (
        Bus(settings.redis.address(), service=SERVICE, instance=instance) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        rules = RuleBook(bus, security.permission_rules_file, time.time, rules_from_settings(settings))
        desk = Desk(security.confirmation_timeout_seconds, security.max_open_requests)
        server = DeskServer(
            desk,
            CaseStore(bus),
            rules,
            bus,
            DeskMetrics(metrics),
            protected=ProtectedPaths.of(settings, Path.cwd(), Path.home()),
            deny_without_watcher=security.deny_without_watcher,
        )
        if not await loaded(server, stop):
            return
        tasks.create_task(publish_snapshots(bus, metrics, service=SERVICE, instance=instance, stop=stop))
        orphans = tasks.create_task(server.withdraw_orphans())
        tasks.create_task(serve_each(bus, PERMISSION_ASK, server.ask, slots=ASKS_AT_ONCE, stop=stop))
        tasks.create_task(serve_each(bus, PERMISSION_DESK, server.answer, slots=QUESTIONS_AT_ONCE, stop=stop))
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


async def loaded(server: DeskServer, stop: asyncio.Event) -> bool:
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
