"""The desk's server between a bus kept in memory and people who are deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from permission_service.requests import PermissionRequests
from permission_service.rule_book import RuleBook
from permission_service.server import PermissionServer
from permission_service.store import RequestStore
from shared.bus.channels import PermissionQuery, PermissionRequest, encode_payload
from shared.runtime.errors import BusUnavailable
from shared.runtime.metrics import Metrics, PermissionMetrics


class MemoryBus:
    """Keys and records; `down` makes every verb fail."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.published: list[Any] = []
        self.facts: dict[str, Any] = {}
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise BusUnavailable

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self._check()
        assert ttl > 0
        self.keys[key] = value

    async def delete(self, key: str) -> None:
        self._check()
        self.keys.pop(key, None)

    async def scan(self, prefix: str) -> dict[str, bytes]:
        self._check()
        return {key: value for key, value in self.keys.items() if key.startswith(prefix)}

    async def publish(self, _channel: Any, payload: Any) -> None:
        self._check()
        self.published.append(payload)

    def describe(self, **facts: Any) -> None:
        self.facts |= facts


class Asked:
    """A delivery: what was sent to it, and somebody who may leave."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.request_id = "r"
        self.caller_gone = asyncio.Event()
        self.caller_gave_up = False
        self.replies: list[Any] = []
        self.arrived = asyncio.Condition()

    async def send(self, data: bytes) -> None:
        async with self.arrived:
            self.replies.append(orjson.loads(data))
            self.arrived.notify_all()

    async def until(self, count: int) -> list[Any]:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.replies) >= count)
        return self.replies


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A desk with its server, and short ways to use both."""

    def __init__(self, bus: MemoryBus, rules_file: Path, clock: Clock, **server: Any) -> None:
        self.bus, self.clock, self.metrics = bus, clock, Metrics()
        self.desk = PermissionRequests(timeout_seconds=300)
        rules = RuleBook(bus, rules_file, clock)  # type: ignore[arg-type]
        stored_requests = RequestStore(bus)  # type: ignore[arg-type]
        metrics = PermissionMetrics(self.metrics)
        self.server = PermissionServer(
            self.desk, stored_requests, rules, bus, metrics, clock, **server
        )  # type: ignore[arg-type]
        self.alerts = self.server.alerts
        self.tasks: list[asyncio.Task[Any]] = []

    def ask(
        self, request_id: str, tool: str = "Bash", command: str = "touch x", **fields: Any
    ) -> Asked:
        """Place an ask; its handler runs on."""
        ask = PermissionRequest(
            request_id,
            tool,
            {"command": command},
            **{"caller": "alice", "session_id": "s1", "asked_at": self.clock(), **fields},
        )
        asked = Asked(encode_payload(ask))
        asked.task = self.start(self.server.ask(asked))  # type: ignore[arg-type, attr-defined]
        return asked

    def start(self, work: Any) -> asyncio.Task[Any]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    async def pending(self, *ids: str) -> None:
        """Wait until exactly these are pending."""
        async with asyncio.timeout(5):
            while [stored.id for stored in self.desk.pending()] != list(ids):  # noqa: ASYNC110 - the desk tells watchers only
                await asyncio.sleep(0)

    async def question(self, verb: str, by: str = "bob", /, **parameters: Any) -> Any:
        delivery = Asked(encode_payload(PermissionQuery(verb, parameters, by)))
        await self.server.answer(delivery)  # type: ignore[arg-type]
        (reply,) = delivery.replies
        return reply

    async def decide(
        self, request_id: str, allowed: bool = True, by: str = "bob", **more: Any
    ) -> Any:
        return await self.question("decide", by, request_id=request_id, allowed=allowed, **more)

    def watch(self, after: int | None = None) -> Asked:
        delivery = Asked(encode_payload(PermissionQuery("watch", {"after": after})))
        self.start(self.server.answer(delivery))  # type: ignore[arg-type]
        return delivery


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    return tmp_path / "config/permissions.toml"


@pytest.fixture
async def make_room(bus: MemoryBus, rules_file: Path) -> Any:
    rooms: list[Room] = []

    def make(clock: Clock | None = None, **server: Any) -> Room:
        rooms.append(Room(bus, rules_file, clock or Clock(), **server))
        return rooms[-1]

    yield make
    for task in (task for room in rooms for task in room.tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def room(make_room: Callable[[], Room]) -> Room:
    return make_room()
