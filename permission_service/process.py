"""The permission desk as a process. There is one, so that there is one answer."""

from __future__ import annotations

import asyncio

from permission_service.desk import Desk
from permission_service.server import DeskServer
from shared.bus import Bus
from shared.channels import PERMISSION_ASK, PERMISSION_DESK
from shared.metrics import DeskMetrics, Metrics, publish_snapshots
from shared.process import instance_name, run
from shared.serving import serve_each
from shared.settings import Settings

SERVICE = "permission_service"
ASKS_AT_ONCE = 1000  # each waits for a person, and people are slow
QUESTIONS_AT_ONCE = 100


def main() -> None:
    run(SERVICE, serve)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    instance = instance_name()
    metrics = Metrics()
    server = DeskServer(Desk(), DeskMetrics(metrics))
    async with (
        Bus(settings.redis.address(), service=SERVICE, instance=instance) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publish_snapshots(bus, metrics, service=SERVICE, instance=instance, stop=stop))
        tasks.create_task(serve_each(bus, PERMISSION_ASK, server.ask, slots=ASKS_AT_ONCE, stop=stop))
        tasks.create_task(serve_each(bus, PERMISSION_DESK, server.answer, slots=QUESTIONS_AT_ONCE, stop=stop))
