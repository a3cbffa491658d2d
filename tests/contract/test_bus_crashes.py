"""What the bus promises when processes die: killed servers, killed callers, a killed Redis. Real
processes, SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
import redis.asyncio

from shared.bus import Bus, Slots, Timings
from shared.bus.channels import Channel
from shared.bus.wire import GROUP, WireMessage
from shared.runtime.errors import BusUnavailable, CallerGone, NoWorker, WorkerLost
from tests.conftest import QUICK

SCRIPT = Path(__file__).parent.parent / "support/bus_process.py"
TURNS = Channel("test:turns", "on_accept")
ASKS = Channel("test:asks", "when_done")
PATIENT = Timings(beat=0.1, lease=600, no_worker=600)  # nothing is noticed by silence


class Peer:
    """A process running bus_process.py, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    async def hears(self) -> str:
        """The next line it says."""
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        assert line, "the process ended"
        self.said.append(line)
        return line

    def signal(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def end(self) -> list[str]:
        """Kill it; everything it ever said."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        rest, _ = await self._process.communicate()
        self.said += rest.decode().split("\n")
        return [line for line in self.said if line]


@pytest.fixture
async def start(redis_url) -> AsyncIterator:
    started: list[Peer] = []

    async def start(
        role: str, instance: str, *, url: str = redis_url, timings: Timings = QUICK
    ) -> Peer:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, SCRIPT, url, instance, json.dumps(asdict(timings)), role),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(peer := Peer(process))
        while await peer.hears() != "ready":
            pass
        return peer

    yield start
    for peer in started:
        await peer.end()


async def reachable(bus: Bus) -> None:
    """Returns when the bus works again."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(BusUnavailable):
                await bus.get("a")
                return
            await asyncio.sleep(0.01)


async def test_a_server_killed_in_mid_stream_loses_the_call_and_no_other_runs_it_again(
    bus_factory, start
):
    caller = await bus_factory()
    first = await start("work", "first")
    async with caller.call(
        TURNS, {"replies": 100_000, "pause": 0.001}, request_id="lost"
    ) as replies:
        assert [await anext(replies) for _ in range(3)] == [b"0", b"1", b"2"]
        second = await start("work", "second")
        first.signal(signal.SIGKILL)
        with pytest.raises(WorkerLost):
            [data async for data in replies]
    async with caller.call(TURNS, {"replies": 1}, request_id="next") as replies:
        assert [data async for data in replies] == [b"0"]
        assert replies.worker == "second"
    assert "started lost" in await first.end()
    assert "started lost" not in await second.end()


async def test_what_a_killed_server_had_not_accepted_is_run_by_another_once(bus_factory, start):
    caller = await bus_factory(timings=PATIENT)
    hoarder = await start("hoard", "hoarder")
    async with caller.call(TURNS, {"replies": 3}, request_id="again") as replies:
        assert await hoarder.hears() == "took again"
        hoarder.signal(signal.SIGKILL)
        others = [await start("work", name) for name in ("one", "two")]
        assert [data async for data in replies] == [b"0", b"1", b"2"]
    said = [line for other in others for line in await other.end()]
    assert said.count("started again") == 1


@pytest.mark.long
async def test_a_server_that_was_stopped_does_not_run_what_another_took_over(bus_factory, start):
    caller = await bus_factory(timings=PATIENT)
    sleeper = await start("late", "sleeper")
    async with caller.call(TURNS, {"replies": 1}, request_id="once") as replies:
        assert await sleeper.hears() == "took once"
        sleeper.signal(signal.SIGSTOP)
        worker = await start("work", "worker")
        assert [data async for data in replies] == [b"0"]
        sleeper.signal(signal.SIGCONT)
        sleeper.tell("go on")
        assert await sleeper.hears() == "gone once"
    assert "started once" in await worker.end()


async def test_a_decision_due_from_a_killed_server_is_made_by_the_next(bus_factory, start):
    caller, desk = await bus_factory(), await bus_factory("desk")
    thinker = await start("think", "thinker")
    async with caller.call(ASKS, "may I", request_id="ask") as replies:
        assert await thinker.hears() == "took ask"
        assert await replies.accepted() == "thinker"
        thinker.signal(signal.SIGKILL)
        delivery = await anext(desk.serve(ASKS, slots=1))
        assert (delivery.request_id, delivery.payload) == ("ask", b'"may I"')
        await delivery.send(b"you may")
        await delivery.finish()
        assert [data async for data in replies] == [b"you may"]


async def test_a_killed_caller_is_noticed_by_its_silence(bus_factory, start):
    worker = await bus_factory("worker")
    asker = await start("ask", "asker")
    delivery = await anext(worker.serve(TURNS, slots=1))
    await delivery.send(b"hello")
    assert await asker.hears() == "hello"
    asker.signal(signal.SIGKILL)
    await delivery.caller_gone.wait()
    with pytest.raises(CallerGone):
        await delivery.send(b"anyone?")
    await delivery.finish()


@pytest.mark.long
async def test_a_reported_exit_of_a_server_ends_its_calls_without_waiting_for_silence(
    bus_factory, start
):
    caller, supervisor = await bus_factory(timings=PATIENT), await bus_factory("launcher")
    worker = await start("work", "w0", timings=PATIENT)
    async with caller.call(TURNS, {"replies": 100_000, "pause": 0.01}) as replies:
        await replies.accepted()
        worker.signal(signal.SIGKILL)
        await supervisor.report_exit("work", "w0")
        with pytest.raises(WorkerLost):
            [data async for data in replies]


@pytest.mark.long
@pytest.mark.parametrize("reported", [True, False])
async def test_what_only_a_killed_server_might_have_taken_is_nobodys_and_its_caller_hears_so(
    bus_factory, start, reported
):
    caller, peer = (
        await bus_factory(timings=PATIENT if reported else QUICK),
        await start("alone", "w0"),
    )
    own = TURNS.at(await peer.hears())
    async with contextlib.AsyncExitStack() as calls, asyncio.timeout(20):
        while True:
            with contextlib.suppress(NoWorker):
                call = await calls.enter_async_context(
                    caller.call(own, {"replies": 1}, request_id="r1")
                )
                break
        assert await peer.hears() == "took r1"
        peer.signal(signal.SIGKILL)
        if reported:
            await caller.report_exit("alone", "w0")
        with pytest.raises(NoWorker):
            await anext(call)
    with pytest.raises(NoWorker):
        async with caller.call(own, {}):
            pass


@pytest.mark.long
async def test_a_reported_exit_of_a_caller_frees_its_servers(bus_factory, start):
    worker, supervisor = await bus_factory("worker", timings=PATIENT), await bus_factory("launcher")
    asker = await start("ask", "asker", timings=PATIENT)
    delivery = await anext(worker.serve(TURNS, slots=1))
    await delivery.accept()
    asker.signal(signal.SIGKILL)
    await supervisor.report_exit("ask", "asker")
    await delivery.caller_gone.wait()
    await delivery.finish()


@pytest.mark.long
async def test_a_reported_exit_of_one_incarnation_spares_the_next(bus_factory, start):
    caller, supervisor = await bus_factory(timings=PATIENT), await bus_factory("launcher")
    await start("work", "w0", timings=PATIENT)
    async with caller.call(TURNS, {"replies": 20, "pause": 0.005}) as replies:
        await replies.accepted()
        await supervisor.report_exit("work", "w0", pid=1)
        assert len([data async for data in replies]) == 20


async def test_redis_killed_and_started_in_mid_stream_costs_no_reply(own_redis, bus_factory, start):
    caller = await bus_factory(url=own_redis.url)
    worker = await start("work", "worker", url=own_redis.url)
    async with caller.call(TURNS, {"replies": 300, "pause": 0.001}) as replies:
        seen = [await anext(replies) for _ in range(20)]
        own_redis.kill()
        own_redis.start()
        seen += [data async for data in replies]
    assert seen == [b"%d" % number for number in range(300)]
    assert len([line for line in await worker.end() if line.startswith("started")]) == 1


@pytest.mark.long
async def test_without_redis_verbs_fail_soon_and_recover_by_themselves(own_redis, bus_factory):
    own_redis.kill()
    bus: Bus = await bus_factory(url=own_redis.url)
    assert not bus.connected
    verbs = [
        bus.publish(ASKS, 1),
        bus.get("a"),
        bus.put("a", b"1", ttl=9),
        bus.scan("a"),
        bus.processes(),
    ]
    for outcome in await asyncio.gather(
        *verbs, bus.call(TURNS, 1).__aenter__(), return_exceptions=True
    ):
        assert isinstance(outcome, BusUnavailable), outcome
        assert "/api" in str(outcome)
    own_redis.start()
    await reachable(bus)
    assert bus.connected
    await bus.put("a", b"1", ttl=9)
    assert await bus.get("a") == b"1"


@pytest.mark.long
async def test_a_server_waits_for_redis_to_come_back(own_redis, bus_factory):
    caller, worker = (
        await bus_factory(url=own_redis.url),
        await bus_factory("worker", url=own_redis.url),
    )
    serving = worker.serve(TURNS, slots=1)
    next_delivery = asyncio.ensure_future(anext(serving))
    await caller.publish(ASKS, "the server is reading by now")
    own_redis.kill()
    own_redis.start()
    await reachable(caller)
    async with caller.call(TURNS, 1) as replies:
        await (await next_delivery).finish()
        assert [data async for data in replies] == []


async def test_an_outage_that_lasts_ends_the_calls_in_flight(own_redis, bus_factory):
    brief = Timings(beat=0.1, lease=1, outage=0.2, reconnect=0.1)
    caller = await bus_factory(url=own_redis.url, timings=brief)
    async with caller.call(TURNS, 1) as replies:
        own_redis.kill()
        with pytest.raises(BusUnavailable, match="cannot be reached"):
            await anext(replies)


@pytest.mark.long
async def test_a_redis_that_forgot_everything_ends_calls_instead_of_leaving_them_to_wait(
    own_redis, bus_factory
):
    caller, worker = (
        await bus_factory(url=own_redis.url),
        await bus_factory("worker", url=own_redis.url),
    )
    deliveries = worker.serve(TURNS, slots=5)
    async with caller.call(TURNS, "taken") as taken:
        delivery = await anext(deliveries)
        await delivery.accept()
        await taken.accepted()
        own_redis.kill()
        own_redis.forget()
        own_redis.start()
        with pytest.raises(BusUnavailable, match="lost this call"):
            await anext(taken)
    await delivery.caller_gone.wait()
    await delivery.finish()
    async with caller.call(TURNS, "new") as replies:  # the channel is made anew
        await (await anext(deliveries)).finish()
        assert [data async for data in replies] == []


@pytest.mark.long
@pytest.mark.parametrize("channel", [TURNS, ASKS], ids=lambda channel: channel.acknowledged)
async def test_a_call_placed_before_the_server_noticed_the_loss_of_redis_data_gets_its_end(
    redis_url, bus_factory, channel: Channel
):
    """The caller's inbox is there again, the server's is not: the server notices at its next
    heartbeat.
    """
    caller = await bus_factory(timings=PATIENT)
    worker = await bus_factory("worker", timings=Timings(beat=1.0, lease=60, no_worker=60))
    deliveries = worker.serve(channel, slots=5)
    taking = asyncio.ensure_future(anext(deliveries))
    async with caller.call(channel, "before") as replies:
        await (await taking).finish()
        assert [data async for data in replies] == []
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.flushall()
        taking = asyncio.ensure_future(anext(deliveries))
        while not await client.exists(f"inbox:{caller.address}"):  # noqa: ASYNC110 - Redis is asked
            await asyncio.sleep(0.01)
        async with asyncio.timeout(20), caller.call(channel, "between") as replies:
            delivery = await taking
            await delivery.accept()
            assert not await client.exists(f"inbox:{worker.address}")
            await delivery.caller_gone.wait()
            await delivery.finish()
            with pytest.raises(BusUnavailable, match="lost this call"):
                await anext(replies)


@pytest.mark.long
async def test_a_process_hears_its_new_inbox_after_the_clock_of_redis_went_back(
    redis_url, bus_factory
):
    """An entry from a far future stands for the clock of before."""
    caller, worker = await bus_factory(), await bus_factory("worker")
    inbox, future = f"inbox:{caller.address}", 99_999_999_999_999
    deliveries = worker.serve(TURNS, slots=1)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.execute_command("XADD", inbox, f"{future}-0", *WireMessage(b"hello").fields())
        # Read once the next heartbeat has trimmed everything before it.
        while (await client.xinfo_stream(inbox))["first-entry"][0] != f"{future}-0".encode():  # noqa: ASYNC110 - Redis is asked
            await asyncio.sleep(0.01)
        await client.delete(inbox)
        while not await client.exists(inbox):  # noqa: ASYNC110 - Redis is asked
            await asyncio.sleep(0.01)
    async with asyncio.timeout(20), caller.call(TURNS, "after") as replies:
        await (await anext(deliveries)).finish()
        assert [data async for data in replies] == []


@pytest.mark.long
@pytest.mark.parametrize("when", ["before it is read", "after it is read"])
async def test_a_call_is_served_although_its_channel_loses_its_group(
    redis_url, bus_factory, when: str
):
    """The group is made anew at the beginning of the stream, so that entries from before it are
    read.
    """
    caller, worker = await bus_factory(), await bus_factory("worker")
    slots = Slots(1)
    deliveries = worker.serve(TURNS, slots=slots)
    async with caller.call(TURNS, "first") as first:
        await (await anext(deliveries)).finish()
        assert [data async for data in first] == []
    if when == "before it is read":
        slots.take()
    async with asyncio.timeout(20), caller.call(TURNS, "second") as second:
        taking = asyncio.ensure_future(anext(deliveries))
        delivery = await taking if when == "after it is read" else None
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.xgroup_destroy("channel:test:turns", GROUP)
        if delivery is None:
            slots.give_back()
            delivery = await taking
        await delivery.send(b"served")
        await delivery.finish()
        assert [data async for data in second] == [b"served"]
