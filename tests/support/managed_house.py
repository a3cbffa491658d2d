"""Managed sessions at work, for tests: two gateways as clients of the official SDK see them, a worker
with the real `claude`, and the permission service, on a real Redis of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaManagedAgentsSession
from anthropic.types.beta.sessions import (
    BetaManagedAgentsSendSessionEvents,
    BetaManagedAgentsSessionEvent,
    BetaManagedAgentsStreamSessionEvents,
)

from gateway.managed.journal import SessionJournals
from gateway.managed.objects import ManagedObjects
from sdk_worker.claude.driver import ProgramFile, drivers
from sdk_worker.custom_tools import ResultDesk
from sdk_worker.process import open_pool, timeouts
from sdk_worker.reply import LeftReplies
from sdk_worker.sessions import Sessions
from sdk_worker.worker import Worker
from shared.bus import Bus
from shared.permissions.asking import ask_permission_service
from shared.permissions.fair_use import InputsInFlight
from shared.settings.tree import Settings, load_settings
from tests.conftest import QUICK, RedisServer, unbounded_keys
from tests.support.managed_types import check
from tests.support.permission_stack import running_desk
from tests.support.simulator_fixture import API_KEY
from tests.unit.gateway.conftest import serve

MODEL = "claude-sonnet-4-5"


@dataclass
class House:
    """Two gateways of one stack, as clients of the official SDK see them. `journals` are those of a
    third gateway, which dies whenever a test wants it to.
    """

    one: AsyncAnthropic
    two: AsyncAnthropic
    journals: SessionJournals
    bus: Bus
    root: Path
    urls: list[str]

    async def session(self, **agent: Any) -> BetaManagedAgentsSession:
        """Return a new session whose tools act below `root`."""
        made = await self.one.beta.agents.create(**{"name": "helper", "model": MODEL} | agent)
        environment = await self.one.beta.environments.create(
            name="here", metadata={"cwd": str(self.root)}
        )
        return await self.one.beta.sessions.create(agent=made.id, environment_id=environment.id)


@asynccontextmanager
async def running_worker(settings: Settings, redis_url: str) -> AsyncIterator[None]:
    """Run a worker of `/sdk` as its program would, with the real `claude`."""
    stop = asyncio.Event()
    async with Bus(redis_url, service="sdk_worker", instance="w", timings=QUICK) as bus:
        ask = partial(ask_permission_service, bus, InputsInFlight())
        program = ProgramFile(settings.claude.cli_path)
        results = ResultDesk(bus.address, settings.security.confirmation_timeout_seconds)
        pool = open_pool(settings, program, drivers()[0], ask=ask, results=results)
        options = settings.claude.code_options
        kept = {"limit": 4, "idle": 60, "timeout": 20, "kept_by": bus.address}
        sessions = Sessions(pool, bus, options, **kept)  # type: ignore[arg-type]
        worker = Worker(
            pool,
            sessions,
            LeftReplies(bus, bus.address, seconds=20),
            results,
            name="w",
            mode="ignore",
            pretty=False,
            timeouts=timeouts(settings),
            roots=settings.sdk.working_roots,
        )
        serving = asyncio.create_task(worker.serve(bus, slots=4, stop=stop, drain=asyncio.Event()))
        yield
        stop.set()
        await serving
        sessions.forget_all()
        await pool.drain()


@asynccontextmanager
async def running_house(
    simulator_url: str, folders: pytest.TempPathFactory, **desk: Any
) -> AsyncIterator[House]:
    """Run the house, whose permission service has the options `desk`."""
    server = RedisServer(folders.mktemp("redis"))
    server.start()
    redis_url = server.url
    root = folders.mktemp("root")
    settings = load_settings(
        redis={"url": redis_url},
        claude={"base_url": simulator_url, "api_key": API_KEY},
        sdk={"working_roots": [root], "pool_size": 0},
    )
    async with AsyncExitStack() as opened:
        rules = root.with_suffix(".rules.toml")
        await opened.enter_async_context(running_desk(redis_url, rules, **desk))
        await opened.enter_async_context(running_worker(settings, redis_url))
        clients, urls = [], []
        for name in ("one", "two"):
            bus = await opened.enter_async_context(
                Bus(redis_url, service="gateway", instance=name, timings=QUICK)
            )
            running = await opened.enter_async_context(serve(settings, bus, None))  # type: ignore[arg-type]
            urls.append(f"http://127.0.0.1:{running.port}")
            client = AsyncAnthropic(base_url=urls[-1] + "/sdk", api_key="unused", max_retries=0)
            clients.append(await opened.enter_async_context(client))
        journals = SessionJournals(ManagedObjects(bus, limit=2**25))
        yield House(*clients, journals, bus, root, urls)
    with redis.Redis.from_url(redis_url) as store:
        left = unbounded_keys(store)
    server.stop()
    assert not left, "keys with neither a TTL nor a bound were left in Redis"


@dataclass
class Heard:
    """The events of a stream, each checked against the SDK's types."""

    events: list[Any]
    news: asyncio.Condition

    async def until(self, kind: str, count: int = 1) -> Any:
        """Return the event number `count` of this kind, once it has come."""

        def found() -> list[Any]:
            return [event for event in self.events if event["type"] == kind]

        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]


@asynccontextmanager
async def hearing(client: AsyncAnthropic, session_id: str, **headers: str) -> AsyncIterator[Heard]:
    """Stream the events of a session while the context is open."""
    heard = Heard([], asyncio.Condition())
    async with await client.beta.sessions.events.stream(
        session_id, extra_headers=headers
    ) as stream:

        async def listen() -> None:
            async for event in stream:
                raw = event.to_dict(mode="json", exclude_unset=True)
                check(BetaManagedAgentsStreamSessionEvents, raw)
                async with heard.news:
                    heard.events.append(raw)
                    heard.news.notify_all()

        listening = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def send(client: AsyncAnthropic, session_id: str, *events: Any) -> list[Any]:
    call = client.beta.sessions.events.with_raw_response.send(session_id, events=events)
    raw = await (await call).json()
    check(BetaManagedAgentsSendSessionEvents, raw)
    return raw["data"]


def says(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


async def listed(client: AsyncAnthropic, session_id: str, **query: Any) -> list[Any]:
    """Return the events of a session, read in pages of three."""
    found = []
    page = await client.beta.sessions.events.list(session_id, limit=3, **query)
    while True:
        found += [event.to_dict(mode="json", exclude_unset=True) for event in page.data]
        if not page.has_next_page():
            break
        page = await page.get_next_page()
    for event in found:
        check(BetaManagedAgentsSessionEvent, event)
    return found


async def idle(client: AsyncAnthropic, session_id: str) -> BetaManagedAgentsSession:
    """Return a session once it is idle and nothing waits."""
    async with asyncio.timeout(60):
        while True:
            session = await client.beta.sessions.retrieve(session_id)
            if session.status == "idle":
                return session
            await asyncio.sleep(0.05)
