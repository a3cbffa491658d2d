"""A gateway and a desk in this process, on a real Redis: permissions without the programs around
them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from permission_service.notify.web_push import WebPush
from permission_service.requests import PermissionRequests
from permission_service.rule_book import RuleBook
from permission_service.server import PermissionServer
from permission_service.store import RequestStore
from shared.bus import Bus
from shared.bus.alerts import LIMIT_REPORTS
from shared.bus.channels import PERMISSION_QUERIES, PERMISSION_REQUESTS
from shared.bus.serving import serve_each
from shared.bus.session_reports import SESSION_REPORTS
from shared.runtime.metrics import Metrics, PermissionMetrics
from shared.settings.tree import load_settings
from tests.conftest import QUICK
from tests.unit.gateway.conftest import serve

ACCEPT = {"accept": "application/json, text/event-stream"}


@asynccontextmanager
async def running_desk(
    redis_url: str,
    rules_file: Path,
    *,
    timeout_seconds: float = 300,
    max_open_requests: int = 16,
    web_push_on: Callable[[Bus], WebPush] | None = None,
    **server_options: Any,
) -> AsyncIterator[None]:
    """Run a permission service as its program would."""
    stop = asyncio.Event()
    bus = Bus(redis_url, service="permission_service", instance="desk", timings=QUICK)
    async with bus, asyncio.TaskGroup() as tasks:
        rules = RuleBook(bus, rules_file, time.time)
        desk = PermissionRequests(timeout_seconds, max_open_requests)
        metrics = PermissionMetrics(Metrics())
        if web_push_on is not None:
            server_options["web_push"] = web_push_on(bus)
        server = PermissionServer(desk, RequestStore(bus), rules, bus, metrics, **server_options)
        await server.load()
        returns = tasks.create_task(server.hand_back_on_return())
        notifications = tasks.create_task(server.notify_owner())
        alerts = tasks.create_task(server.watch_for_alerts())
        tasks.create_task(
            serve_each(bus, LIMIT_REPORTS, server.take_limit_report, slots=10, stop=stop)
        )
        tasks.create_task(
            serve_each(bus, SESSION_REPORTS, server.take_session_report, slots=10, stop=stop)
        )
        tasks.create_task(serve_each(bus, PERMISSION_REQUESTS, server.ask, slots=1000, stop=stop))
        tasks.create_task(serve_each(bus, PERMISSION_QUERIES, server.answer, slots=100, stop=stop))
        yield
        stop.set()
        returns.cancel()
        notifications.cancel()
        alerts.cancel()


@dataclass
class Event:
    name: str
    data: dict[str, Any]
    id: int | None


@dataclass
class Watching:
    """A stream of events being read."""

    events: list[Event] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self, response: httpx.Response) -> None:
        pending = b""
        async for chunk in response.aiter_raw():
            pending += chunk
            *blocks, pending = pending.split(b"\n\n")
            async with self.arrived:
                self.events += [read_event(block) for block in blocks]
                self.arrived.notify_all()

    async def until(self, name: str, count: int = 1) -> list[Event]:
        """The events of this name, once there are `count`."""

        def found() -> list[Event]:
            return [event for event in self.events if event.name == name]

        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(found()) >= count)
        return found()


def read_event(block: bytes) -> Event:
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
    number = fields.get(b"id")
    return Event(
        fields[b"event"].decode(), orjson.loads(fields[b"data"]), int(number) if number else None
    )


@dataclass
class Front:
    """The gateway as its clients see it."""

    client: httpx.AsyncClient
    bus: Bus
    stop: Callable[[], object]

    @asynccontextmanager
    async def watch(self, after: int | None = None, **headers: str) -> AsyncIterator[Watching]:
        if after is not None:
            headers["last-event-id"] = str(after)
        watching = Watching()
        async with self.client.stream("GET", "/permissions/stream", headers=headers) as response:
            assert response.status_code == 200
            reading = asyncio.create_task(watching.read(response))
            yield watching
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def pending(self, count: int) -> list[dict[str, Any]]:
        """What is pending, once that are `count`."""
        async with self.watch() as watching:
            await watching.until("permission_request", count)
        return (await self.client.get("/permissions")).json()["pending"]

    async def check(self, **body: Any) -> dict[str, Any]:
        asked = {"tool_name": "Bash", "input": {"command": "touch x"}} | body
        return (await self.client.post("/mcp/permission/check", json=asked)).json()

    async def respond(self, request_id: str, allowed: bool = True, **more: Any) -> httpx.Response:
        return await self.client.post(
            f"/permissions/{request_id}/respond", json={"allowed": allowed, **more}
        )

    async def call(self, message_id: int = 1, **headers: str) -> list[dict[str, Any]]:
        """Call the tool over MCP; the messages of its stream."""
        arguments = {"tool_name": "Bash", "input": {"command": "touch x"}, "tool_use_id": "toolu_1"}
        params = {"name": "check_permission", "arguments": arguments, "_meta": {"progressToken": 7}}
        message = {"jsonrpc": "2.0", "id": message_id, "method": "tools/call", "params": params}
        response = await self.client.post("/mcp", json=message, headers=ACCEPT | headers)
        return [read_event(block).data for block in response.content.split(b"\n\n") if block]


def said(message: dict[str, Any]) -> dict[str, Any]:
    """What the tool's answer tells Claude Code."""
    (block,) = message["result"]["content"]
    return orjson.loads(block["text"])


@asynccontextmanager
async def running_front(redis_url: str, *, port: int = 0, **overrides: Any) -> AsyncIterator[Front]:
    """A gateway with a client that outlives it."""
    overrides["claude"] = {"base_url": "http://127.0.0.1:1", "api_key": "k"}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        bus = Bus(redis_url, service="gateway", instance="front", timings=QUICK)
        async with bus, serve(load_settings(**overrides), bus, None, port) as running:  # type: ignore[arg-type]
            client.base_url = httpx.URL(f"http://127.0.0.1:{running.port}")
            yield Front(
                client, bus, lambda: asyncio.ensure_future(running.gateway.active_requests.stop(0))
            )
