"""Growth with what is kept in Redis: sessions and workers, and the memory of each kept thing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import redis
from fastapi import APIRouter
from fastapi.routing import APIRoute

from benchmarks.curves import CONSTANT, LINEAR, Curve, Growth, cpu_ms_of, in_turn
from benchmarks.growth_tokens import redis_cpu
from benchmarks.scale import running_redis
from gateway.managed.journal import SESSIONS, SessionJournals, SessionName
from gateway.managed.listing import new_id, page_of_found, time_now
from gateway.managed.objects import ManagedObjects, Put
from gateway.providers.worker_choice import choose_workers
from gateway.routes.sdk import sdk_router
from gateway.routes.status import status_router
from permission_service.requests import PermissionRequests
from permission_service.store import RequestStore
from shared.bus import Bus
from shared.bus.channels import (
    SESSION_PREFIX,
    Channel,
    KnownSession,
    PermissionRequest,
    Turn,
    encode_payload,
)
from shared.bus.serving import serve_each
from shared.bus.session_store import open_session_store
from shared.bus.watch import Timings
from shared.settings.tree import Settings

AT_ONCE = 200
OWNER_SESSIONS = 1000  # the most of one owner
PATIENT = Timings(lease=3600.0)  # heartbeats stay as long as the measurement takes
TURNS = Channel("growth:turn", "on_accept", max_length=100_000)


@dataclass
class Stack:
    """A Redis with what a gateway keeps there."""

    url: str
    bus: Bus
    server: redis.Redis

    def __post_init__(self) -> None:
        self.settings = Settings()
        self.objects = ManagedObjects(self.bus, limit=2**40)
        self.journals = SessionJournals(self.objects)
        self.transcripts = open_session_store(self.bus, self.settings.sdk)
        self.status = endpoint(
            status_router(self.settings, self.bus, cast("Any", None)), "/sdk/status"
        )
        self.conversations = endpoint(sdk_router(self.bus, self.transcripts), "/sdk/sessions")
        self.opened: list[str] = []

    def cpu(self) -> float:
        """Return the CPU seconds of this process and of Redis."""
        return time.process_time() + redis_cpu(self.server)

    def memory(self) -> int:
        found = self.server.info("memory")
        assert isinstance(found, dict)
        return int(found["used_memory"])

    async def keep_session(self, number: int) -> None:
        """Store a managed session."""
        owner = f"owner-{number // OWNER_SESSIONS}"
        session = a_session()
        await self.objects.create(owner, Put(SESSIONS, session["id"], session))
        if number % OWNER_SESSIONS == 0:
            self.opened.append(session["id"])

    async def keep_conversation(self, number: int) -> None:
        """Store the state of a named conversation."""
        known = KnownSession("0" * 36, 3, 0.1, f"name-{number}", "laptop", "/srv/project")
        await self.bus.put(f"{SESSION_PREFIX}{number:064d}", encode_payload(known), ttl=86_400)

    async def list_page(self) -> Any:
        found = self.objects.walk("owner-0", SESSIONS, after=None, oldest_first=False)
        return await page_of_found(found, 20, lambda _: True)

    async def open_session(self) -> None:
        name = SessionName("owner-0", self.opened[0])
        await self.objects.stored(name.owner, SESSIONS, name.id)
        await self.journals.look(name)

    async def open_conversation(self) -> None:
        assert await self.bus.get(f"{SESSION_PREFIX}{7:064d}")


def a_session() -> dict[str, Any]:
    """Return a managed session as stored, with an agent of one tool set."""
    now = time_now()
    agent: dict[str, Any] = {
        "id": new_id("agent"),
        "name": "Builder",
        "model": {"id": "claude-sonnet-4-5"},
    }
    agent |= {"system": "You build things. " * 10, "tools": [{"type": "agent_toolset"}]}
    return {
        "id": new_id("sesn"),
        "agent": agent,
        "created_at": now,
        "updated_at": now,
        "environment_id": new_id("env"),
        "metadata": {},
        "title": "A session",
        "type": "session",
        "ccproxy": {"folder": "/srv/project", "worker": None},
    }


def endpoint(router: APIRouter, path: str) -> Callable[[], Awaitable[Any]]:
    """Return the function behind GET `path`."""
    found: Callable[[], Awaitable[Any]] = next(
        route.endpoint
        for route in router.routes
        if isinstance(route, APIRoute) and route.path == path and "GET" in (route.methods or ())
    )
    return found


@contextlib.asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    with running_redis() as (url, _):
        async with Bus(url, service="gateway", instance="growth") as bus:
            yield Stack(url, bus, redis.Redis.from_url(url))


async def fill(keep: Callable[[int], Awaitable[object]], size: int) -> None:
    """Call `keep` for so many numbers, AT_ONCE beside each other."""
    for start in range(0, size, AT_ONCE):
        await asyncio.gather(*map(keep, range(start, min(size, start + AT_ONCE))))


async def measured(
    stacks: dict[int, Stack],
    operations: dict[str, tuple[float, Callable[[Stack], Awaitable[object]], int, str]],
) -> list[Curve]:
    """Return the CPU-ms of each operation, of this process and of Redis."""

    async def cost(each: Stack, operation: Callable[[Stack], Awaitable[object]], n: int) -> float:
        return await cpu_ms_of(lambda: operation(each), n, each.cpu)

    return [
        Curve(
            label,
            expected,
            await in_turn(
                {size: partial(cost, each, operation, calls) for size, each in stacks.items()}
            ),
            why,
        )
        for label, (expected, operation, calls, why) in operations.items()
    ]


async def sessions(sizes: list[int]) -> Growth:
    """Return the cost of what people do among so many kept sessions."""
    async with contextlib.AsyncExitStack() as opened:
        stacks = {}
        for size in sizes:
            each = await opened.enter_async_context(stack())
            await fill(each.keep_session, size)
            await fill(each.keep_conversation, size)
            stacks[size] = each
        curves = await measured(
            stacks,
            {
                "a page of managed sessions": (CONSTANT, Stack.list_page, 20, ""),
                "open a managed session": (CONSTANT, Stack.open_session, 50, ""),
                "open a conversation": (CONSTANT, Stack.open_conversation, 50, ""),
                "`GET /sdk/status`": (CONSTANT, lambda each: each.status(), 3, ""),
                "list all conversations": (
                    LINEAR,
                    lambda each: each.conversations(),
                    1,
                    "in the answer",
                ),
            },
        )
    return Growth(
        "Kept sessions",
        "sessions",
        "CPU-ms",
        curves,
        "So many managed sessions, and as many named conversations. CPU of the gateway and of "
        "Redis together.",
    )


async def workers(sizes: list[int]) -> Growth:
    """Return the cost of workers' heartbeats, and of finding one."""
    async with contextlib.AsyncExitStack() as opened:
        stacks = {}
        buses: dict[int, list[Bus]] = {}
        for size in sizes:
            each = await opened.enter_async_context(stack())
            buses[size] = [
                Bus(each.url, service="sdk_worker", instance=f"w{number}", timings=PATIENT)
                for number in range(size)
            ]
            for number, bus in enumerate(buses[size]):
                bus.describe(
                    labels=[f"label-{number % 10}"], size=8, busy=0, idle=2, draining=False
                )
                opened.push_async_callback(bus._link.aclose)
                await bus._peers._beat()
            stacks[size] = each
        by_stack = {id(each): buses[size] for size, each in stacks.items()}

        async def beat_all(each: Stack) -> None:
            for bus in by_stack[id(each)]:
                await bus._peers._beat()

        async def choose(each: Stack) -> None:
            await choose_workers(each.bus, frozenset({"label-0"}))

        curves = await measured(
            stacks,
            {
                "a round of all heartbeats": (LINEAR, beat_all, 1, "in workers"),
                "find a worker by its label": (LINEAR, choose, 5, "in workers"),
                "`GET /sdk/status`": (LINEAR, lambda each: each.status(), 5, "in the answer"),
            },
        )
    return Growth(
        "Workers", "workers", "CPU-ms", curves, "CPU of the workers or the gateway, and of Redis."
    )


async def memory(sizes: list[int]) -> Growth:
    """Return the bytes of Redis for each kept thing."""
    found: dict[str, dict[int, float]] = {}
    for size in sizes:
        async with stack() as each:
            for label, keep in things(each, size).items():
                before = each.memory()
                await keep()
                await asyncio.sleep(1.5)  # a heartbeat trims the inbox
                used = max(0, each.memory() - before)
                found.setdefault(label, {})[size] = used / size
    return Growth(
        "Memory of Redis",
        "kept things",
        "bytes each",
        [Curve(label, CONSTANT, costs) for label, costs in found.items()],
        "A turn with a prompt of a kilobyte waits; one that has ended leaves nothing of its own.",
    )


def things(each: Stack, size: int) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return the ways to keep `size` things of each kind."""
    held = contextlib.AsyncExitStack()
    requests = PermissionRequests(3600)
    store = RequestStore(each.bus)
    messages = [{"role": "user", "content": "Build it. " * 100}]

    async def ended_turns() -> None:
        stop = asyncio.Event()

        async def answer(delivery: Any) -> None:
            await delivery.send(b"." * 200)

        async def one(number: int) -> None:
            async with each.bus.call(TURNS, Turn(f"t{number}", {"messages": messages})) as replies:
                async for _ in replies:
                    pass

        serving = asyncio.create_task(serve_each(each.bus, TURNS, answer, slots=50, stop=stop))
        await fill(one, size)
        stop.set()
        await serving

    async def waiting_turn(number: int) -> None:
        call = each.bus.call(TURNS, Turn(f"w{number}", {"messages": messages}))
        await held.enter_async_context(call)

    async def open_request(number: int) -> None:
        ask = PermissionRequest(f"r{number}", "Bash", {"command": "make all"}, caller="laptop")
        now = time.time()
        await store.save(requests.present(requests.open(ask, now)), now=now)

    return {
        "a turn that has ended": ended_turns,
        "a managed session": partial(fill, each.keep_session, size),
        "a named conversation": partial(fill, each.keep_conversation, size),
        "an open permission request": partial(fill, open_request, size),
        "a waiting turn": partial(fill, waiting_turn, size),
    }
