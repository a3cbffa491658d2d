"""What the bus promises when Redis' host dies and sentinels choose another: three real sentinels, a
primary, a replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from ccproxy.cli.checks import Machine
from ccproxy.cli.checks_outside import look_at_redis_server, look_at_sentinels
from gateway.managed.journal import ANYBODY, SESSIONS, SessionJournals, SessionName
from gateway.managed.objects import ManagedObjects, Put
from permission_service.requests import StoredRequest
from permission_service.store import RequestStore
from shared.bus import Bus, Delivery
from shared.bus.channels import ACCESS_RECORD, AccessRecord, Channel, PermissionRequest
from shared.bus.records import pack, unpack
from shared.runtime.errors import BusUnavailable, CallerGone, CCProxyError
from shared.settings.tree import load_settings
from tests.support.matrix import matrix
from tests.support.sentinel_set import SentinelSet

TURNS = Channel("test:turns", "on_accept")
WHOLE_AGAIN_SECONDS = 10
CALLS = 8
SESSION = SessionName("owner", "sesn_1")


@pytest.fixture(scope="module")
def sentinel_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    servers = SentinelSet(tmp_path_factory.mktemp("redis"))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@dataclass
class Acknowledged:
    """What Redis has acknowledged of each kind, by number."""

    records: set[str] = field(default_factory=set)
    decisions: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)


class House:
    """A gateway, a worker and a permission service on the bus. All three write and read on, until
    told to stop.
    """

    def __init__(self, gateway: Bus, worker: Bus, desk: Bus) -> None:
        self.gateway = gateway
        self._worker = worker
        self._store = RequestStore(desk)
        self._objects = ManagedObjects(gateway, limit=2**25)
        self._journals = SessionJournals(self._objects)
        self._numbers = map(str, itertools.count())
        self.acknowledged = Acknowledged()
        self.replies: list[list[bytes]] = [[] for _ in range(CALLS)]
        self.ends: list[str] = []  # empty for a call that ended well
        self._stop = asyncio.Event()

    async def run(self) -> None:
        await self._objects.create(SESSION.owner, Put(SESSIONS, SESSION.id, {"id": SESSION.id}))
        serving = asyncio.create_task(self._serve())
        async with asyncio.TaskGroup() as tasks:
            for number in range(CALLS):
                tasks.create_task(self._call(self.replies[number]))
            tasks.create_task(self._repeat(self.acknowledged.records, self._publish))
            tasks.create_task(self._repeat(self.acknowledged.decisions, self._decide))
            tasks.create_task(self._repeat(self.acknowledged.events, self._log))
        serving.cancel()

    def stop(self) -> None:
        self._stop.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for delivery in self._worker.serve(TURNS, slots=CALLS):
                tasks.create_task(self._count(delivery))

    async def _count(self, delivery: Delivery) -> None:
        with contextlib.suppress(CallerGone):
            for number in itertools.count():
                if self._stop.is_set():
                    break
                await delivery.send(b"%d" % number)
                await asyncio.sleep(0.01)
        await delivery.finish()

    async def _call(self, replies: list[bytes]) -> None:
        try:
            async with self.gateway.call(TURNS, {}) as call:
                async for reply in call:
                    replies.append(reply)  # noqa: PERF401 - what came before an error stays
        except CCProxyError as error:
            self.ends.append(error.message)
        else:
            self.ends.append("")

    async def _repeat(self, done: set[str], write: Callable[[str], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            with contextlib.suppress(BusUnavailable):
                await write(number)
                done.add(number)
            await asyncio.sleep(0.005)

    async def _publish(self, number: str) -> None:
        await self.gateway.publish(ACCESS_RECORD, pack([AccessRecord(number, 1.0)]))

    async def _decide(self, number: str) -> None:
        ask = PermissionRequest(number, "Bash", {})
        decided = StoredRequest(ask, 1, None, 0.0, status="allowed", closed=2)
        await self._store.save(decided, now=0.0)

    async def _log(self, number: str) -> None:
        await self._journals.commit(
            SESSION, ANYBODY, logged=[{"type": "user.message", "n": number}]
        )

    async def lost(self, servers: SentinelSet) -> dict[str, set[str]]:
        """Return everything that was acknowledged and is not there any more."""
        with servers.client(servers.primary()) as client:
            entries = client.xrange("channel:access:record")
        records = {record.request_id for _, data in entries for record in unpack(data[b"data"])}
        decisions = {each.id for each in await self._store.load() if each.status == "allowed"}
        log = await self._journals.read(SESSION, most=1_000_000)
        return {
            "records": self.acknowledged.records - records,
            "decisions": self.acknowledged.decisions - decisions,
            "events": self.acknowledged.events - {each.event["n"] for each in log},
        }


@pytest.fixture
async def house(sentinel_set: SentinelSet) -> AsyncIterator[House]:
    with sentinel_set.client(sentinel_set.primary()) as client:
        client.flushall()
    async with AsyncExitStack() as opened:
        buses = [
            await opened.enter_async_context(Bus(sentinel_set.url, service=name, instance=name))
            for name in ("gateway", "worker", "desk")
        ]
        yield House(*buses)


async def whole_again(bus: Bus) -> float:
    """Wait until a write and a call of `bus` succeed; return the seconds until then."""
    began = time.monotonic()
    async with asyncio.timeout(3 * WHOLE_AGAIN_SECONDS):
        while True:
            with contextlib.suppress(BusUnavailable):
                await bus.put("whole", b"again", ttl=60)
                return time.monotonic() - began
            await asyncio.sleep(0.02)


async def lose_primary(servers: SentinelSet, how: str) -> int:
    """Take the primary away, and return its port."""
    primary = await asyncio.to_thread(servers.primary)
    if how == "ordered":
        await asyncio.to_thread(servers.fail_over)
    else:
        signum = signal.SIGKILL if how == "killed" else signal.SIGSTOP
        await asyncio.to_thread(servers.send, primary, signum)
    return primary


async def bring_back(servers: SentinelSet, lost: int, how: str) -> None:
    """Make the server at the port `lost` a replica again."""
    if how == "killed":
        await asyncio.to_thread(servers.start_again, lost)
    if how == "frozen":
        servers.send(lost, signal.SIGCONT)
    await asyncio.to_thread(servers.wait_for_replica)


async def progress(house: House) -> None:
    """Return once each kind of write was acknowledged some more times, and each call that lives has
    got some more replies.
    """
    kinds = [house.acknowledged.records, house.acknowledged.decisions, house.acknowledged.events]
    goals = [len(kind) + 20 for kind in kinds]
    async with asyncio.timeout(30):
        while any(len(kind) < goal for kind, goal in zip(kinds, goals, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def fails_over(house: House, servers: SentinelSet, how: str, rounds: int) -> list[float]:
    """Lose the primary `rounds` times while the house works; return the seconds of each loss."""
    working = asyncio.create_task(house.run())
    seconds = []
    for _ in range(rounds):
        await progress(house)
        survivor = await asyncio.to_thread(servers.replica)
        lost = await lose_primary(servers, how)
        began = time.monotonic()
        await asyncio.to_thread(servers.wait_for_primary, survivor)
        await whole_again(house.gateway)
        await progress(house)
        seconds.append(time.monotonic() - began)
        await bring_back(servers, lost, how)
    await progress(house)
    house.stop()
    async with asyncio.timeout(20):
        await working
    return seconds


def check(house: House, lost: dict[str, set[str]]) -> None:
    assert lost == {"records": set(), "decisions": set(), "events": set()}
    assert len(house.ends) == CALLS
    for replies in house.replies:
        assert replies == [b"%d" % number for number in range(len(replies))]


@pytest.mark.parametrize("how", matrix(["killed", "frozen", "ordered"]))
async def test_a_lost_primary_costs_no_acknowledged_write_and_ends_no_call_without_a_word(
    house: House, sentinel_set: SentinelSet, how: str
) -> None:
    await fails_over(house, sentinel_set, how, rounds=1)
    check(house, await house.lost(sentinel_set))


@pytest.mark.matrix
@pytest.mark.timeout(300)
async def test_ten_lost_primaries_in_a_row_cost_no_acknowledged_write_and_ten_seconds_each(
    house: House, sentinel_set: SentinelSet
) -> None:
    seconds = await fails_over(house, sentinel_set, "killed", rounds=10)
    check(house, await house.lost(sentinel_set))
    # A busy machine's sentinels take longer, and the tests above say nothing of time.
    assert max(seconds) < WHOLE_AGAIN_SECONDS, seconds


async def test_the_doctor_tells_how_many_sentinels_and_replicas_answer(
    sentinel_set: SentinelSet,
) -> None:
    machine = Machine(load_settings(redis={"url": sentinel_set.url}))
    [server] = await look_at_redis_server(machine)
    [sentinels] = await look_at_sentinels(machine)
    assert server.status == sentinels.status == "pass"
    assert sentinels.says == "3 of 3 sentinels answer; replicas: 1"
    elsewhere = sentinel_set.url.replace(str(sentinel_set.sentinels[1]), "1")
    [fewer] = await look_at_sentinels(Machine(load_settings(redis={"url": elsewhere})))
    assert (fewer.status, fewer.says) == ("warn", "2 of 3 sentinels answer; replicas: 1")
    nobody = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/bus"
    [none] = await look_at_sentinels(Machine(load_settings(redis={"url": nobody})))
    assert (none.status, none.says) == ("fail", "0 of 2 sentinels answer")


async def test_a_write_that_no_replica_confirms_is_not_acknowledged_until_the_replica_is_gone(
    house: House, sentinel_set: SentinelSet
) -> None:
    await whole_again(house.gateway)
    replica = await asyncio.to_thread(sentinel_set.replica)
    sentinel_set.send(replica, signal.SIGSTOP)
    with pytest.raises(BusUnavailable, match="no replica has confirmed"):
        await house.gateway.put("a", b"1", ttl=60)
    await whole_again(house.gateway)
    sentinel_set.send(replica, signal.SIGCONT)
