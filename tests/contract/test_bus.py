"""What the bus promises, on a real server: order, cancellation, slots, bounds, and nothing left
behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis

from shared.bus import Bus, Delivery, Slots, Timings
from shared.bus.calls import UNREAD_BYTES
from shared.bus.channels import Channel
from shared.bus.peers import TRIM_BYTES
from shared.bus.wire import MAX_PAYLOAD
from shared.runtime.errors import (
    BusUnavailable,
    Busy,
    CallerGone,
    NoWorker,
    Stopping,
    TooLarge,
    UpstreamRefused,
)
from shared.settings.problems import ConfigurationError
from tests.conftest import QUICK, unbounded_keys

TURNS = Channel("test:turns", "on_accept")
ASKS = Channel("test:asks", "when_done")
RECORDS = Channel("test:records", "when_done", max_length=500)

Handler = Callable[[Delivery], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    bus: Bus, channel: Channel, handle: Handler, *, slots: int = 100
) -> AsyncIterator[None]:
    async def serve() -> None:
        async with (
            asyncio.TaskGroup() as tasks,
            contextlib.aclosing(bus.serve(channel, slots=slots)) as deliveries,
        ):
            async for delivery in deliveries:
                tasks.create_task(handle(delivery))

    task = asyncio.create_task(serve())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def count_up(delivery: Delivery) -> None:
    for number in range(int(delivery.payload)):
        await delivery.send(b"%d" % number)
    await delivery.finish()


async def wait_for_ever(delivery: Delivery) -> None:
    await delivery.accept()
    await delivery.caller_gone.wait()
    await delivery.finish()


async def collect(bus: Bus, channel: Channel, payload: object) -> list[bytes]:
    async with bus.call(channel, payload) as replies:
        return [data async for data in replies]


async def test_fifty_calls_at_once_each_get_every_reply_in_order(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    async with serving(worker, TURNS, count_up):
        answers = await asyncio.gather(*(collect(caller, TURNS, 200) for _ in range(50)))
    assert answers == [[b"%d" % number for number in range(200)]] * 50


async def test_calls_spread_over_servers_and_say_who_accepted(bus_factory):
    caller = await bus_factory()
    one, two = [await bus_factory("worker", instance=name) for name in ("one", "two")]
    async with (
        serving(one, TURNS, wait_for_ever, slots=1),
        serving(two, TURNS, wait_for_ever, slots=1),
        caller.call(TURNS, 0) as first,
        caller.call(TURNS, 0) as second,
    ):
        assert {await first.accepted(), await second.accepted()} == {"one", "two"}
        assert {first.worker, second.worker} == {"one", "two"}


async def test_a_call_carries_its_request_id_and_payload(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    async with caller.call(TURNS, {"text": "ä"}, request_id="req_1"):
        delivery = await anext(worker.serve(TURNS, slots=1))
        assert (delivery.request_id, delivery.payload) == ("req_1", '{"text":"ä"}'.encode())


async def test_an_error_of_the_server_arrives_as_the_same_error_after_what_was_sent(bus_factory):
    async def refuse(delivery: Delivery) -> None:
        await delivery.send(b"first")
        await delivery.fail(
            UpstreamRefused("slow down", status=429, body=b"{}", headers={"retry-after": "7"})
        )

    caller, worker = await bus_factory(), await bus_factory("worker")
    async with serving(worker, TURNS, refuse), caller.call(TURNS, 0) as replies:
        assert await anext(replies) == b"first"
        with pytest.raises(UpstreamRefused) as refused:
            await anext(replies)
        assert (refused.value.status, refused.value.body, refused.value.headers) == (
            429,
            b"{}",
            {"retry-after": "7"},
        )
        with pytest.raises(StopAsyncIteration):
            await anext(replies)


async def test_a_key_with_half_of_a_surrogate_pair_is_kept_and_fails_no_command_beside(bus_factory):
    bus = await bus_factory()
    await asyncio.gather(bus.put("k:\ud83d", b"1", ttl=60), bus.put("k:\U0001f600", b"2", ttl=60))
    assert await asyncio.gather(bus.get("k:\ud83d"), bus.get("k:\U0001f600")) == [b"1", b"2"]
    assert await bus.scan("k:") == {"k:\ud83d": b"1", "k:\U0001f600": b"2"}


async def test_an_entry_that_is_no_message_costs_nobody_a_call(bus_factory, redis_url):
    server, caller = await bus_factory("worker"), await bus_factory("gateway")
    async with serving(server, TURNS, count_up):
        with redis.Redis.from_url(redis_url) as client:
            (inbox,) = client.scan_iter("inbox:gateway:*")
            for fields in ({"x": "1"}, {"k": "reply", "n": "three"}, {"k": "exited", "d": b"\xff"}):
                client.xadd(inbox, fields)
        assert await collect(caller, TURNS, 2) == [b"0", b"1"]


async def test_an_entry_of_a_channel_that_is_no_request_costs_its_server_nothing(
    bus_factory, redis_url
):
    server, caller = await bus_factory("worker"), await bus_factory("gateway")
    with redis.Redis.from_url(redis_url) as client:
        client.xadd("channel:test:turns", {"id": b"\xff", "inbox": b"\xff"})
    taken: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        taken.append(delivery.payload)
        await (count_up(delivery) if delivery.payload else delivery.finish())

    async with serving(server, TURNS, handle):
        assert await collect(caller, TURNS, 1) == [b"0"]
    assert sorted(taken) == [b"", b"1"]


async def test_an_error_instead_of_accepting_reaches_who_waits_for_that(bus_factory):
    caller = await bus_factory()
    async with caller.call(TURNS, 0) as call:
        with pytest.raises(NoWorker, match="test:turns"):
            await call.accepted()
        with pytest.raises(NoWorker):
            await anext(call)


async def test_leaving_a_running_call_reaches_its_server(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    deliveries = worker.serve(TURNS, slots=1)
    async with caller.call(TURNS, 0):
        delivery = await anext(deliveries)
        await delivery.accept()
    await delivery.caller_gone.wait()
    with pytest.raises(CallerGone):
        await delivery.send(b"into the void")
    await delivery.finish()


async def test_a_call_left_before_anyone_took_it_is_never_delivered(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    async with caller.call(TURNS, "left"):
        pass
    async with caller.call(TURNS, "stays"):
        delivery = await anext(worker.serve(TURNS, slots=1))
        assert delivery.payload == b'"stays"'


@pytest.mark.parametrize("channel", [TURNS, ASKS])
async def test_a_call_left_between_taking_and_accepting_is_not_run(bus_factory, channel: Channel):
    caller, worker = await bus_factory(), await bus_factory("worker")
    async with caller.call(channel, 0):
        delivery = await anext(worker.serve(channel, slots=1))
    with contextlib.suppress(CallerGone):
        await delivery.accept()  # on ASKS it passes: what tells the server is that it accepts
    await delivery.caller_gone.wait()
    with pytest.raises(CallerGone):
        await delivery.send(b"")
    await delivery.finish()


async def test_a_server_takes_no_more_than_its_slots(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    busy, most = 0, 0

    async def occupy(delivery: Delivery) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await delivery.accept()
        await asyncio.sleep(0.002)
        busy -= 1
        await delivery.finish()

    async with serving(worker, TURNS, occupy, slots=3):
        await asyncio.gather(*(collect(caller, TURNS, 0) for _ in range(40)))
    assert most == 3


async def test_a_reader_that_falls_behind_loses_its_call_and_no_other(bus_factory):
    async def flood(delivery: Delivery) -> None:
        with contextlib.suppress(CallerGone):
            while True:
                await delivery.send(b"x" * (UNREAD_BYTES // 8))
        await delivery.finish()

    caller, worker = await bus_factory(), await bus_factory("worker")
    async with (
        serving(worker, TURNS, flood),
        serving(worker, ASKS, count_up),
        caller.call(TURNS, 0) as slow,
    ):
        assert await collect(caller, ASKS, 100) == [b"%d" % number for number in range(100)]
        await worker.drained()  # told to stop
        with pytest.raises(BusUnavailable, match="behind"):
            [data async for data in slow]


async def test_callers_do_not_see_each_others_replies(bus_factory):
    async def echo(delivery: Delivery) -> None:
        await delivery.send(delivery.payload)
        await delivery.finish()

    callers, worker = (
        [await bus_factory(instance="same name") for _ in range(3)],
        await bus_factory("worker"),
    )
    async with serving(worker, TURNS, echo):
        answers = await asyncio.gather(
            *(collect(bus, TURNS, i) for i, bus in enumerate(callers) for _ in range(20))
        )
    assert answers == [[b"%d" % i] for i in range(3) for _ in range(20)]


async def test_a_call_waits_for_a_server_to_start(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    async with caller.call(TURNS, 2) as replies, serving(worker, TURNS, count_up):
        assert [data async for data in replies] == [b"0", b"1"]


async def test_a_call_waits_as_long_as_it_takes_for_a_server_that_is_busy(bus_factory):
    timings = Timings(beat=0.05, lease=1, no_worker=0.2)
    caller, worker = (
        await bus_factory(timings=timings),
        await bus_factory("worker", timings=timings),
    )
    release = asyncio.Event()

    async def hold(delivery: Delivery) -> None:
        await delivery.accept()
        await release.wait()
        await delivery.finish()

    async with serving(worker, TURNS, hold, slots=1), caller.call(TURNS, 0) as first:
        await first.accepted()
        waiting = asyncio.create_task(collect(caller, TURNS, 0))
        done, _ = await asyncio.wait([waiting], timeout=3 * timings.no_worker)
        assert not done
        release.set()
        assert await waiting == []


async def test_a_full_waiting_line_refuses_and_keeps_nothing_of_the_refused(bus_factory, redis_url):
    short = Channel("test:short", "on_accept", max_length=2)
    caller = await bus_factory()
    async with caller.call(short, 1), caller.call(short, 2):
        with pytest.raises(Busy) as busy:
            await collect(caller, short, 3)
        assert int(busy.value.headers["retry-after"]) > 0
        await caller.get("written behind what takes the third out")
        with redis.Redis.from_url(redis_url) as client:
            assert client.xlen("channel:test:short") == 2


async def test_what_is_too_large_is_refused_on_both_ways(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    with pytest.raises(TooLarge):
        await caller.publish(RECORDS, "x" * MAX_PAYLOAD)
    with pytest.raises(TooLarge):
        await collect(caller, TURNS, "x" * MAX_PAYLOAD)
    async with caller.call(TURNS, 0):
        delivery = await anext(worker.serve(TURNS, slots=1))
        with pytest.raises(TooLarge):
            await delivery.send(b"x" * (MAX_PAYLOAD + 1))
        await delivery.finish()


async def test_a_large_body_arrives_whole(bus_factory):
    caller, worker = await bus_factory(), await bus_factory("worker")
    body = "x" * (32 * 1024 * 1024)
    async with caller.call(TURNS, body):
        delivery = await anext(worker.serve(TURNS, slots=1))
        assert delivery.payload == f'"{body}"'.encode()


async def test_every_published_record_is_consumed_once_and_then_gone(bus_factory, redis_url):
    writer, reader = await bus_factory(), await bus_factory("reader")
    seen: list[bytes] = []
    all_seen = asyncio.Event()

    async def take(delivery: Delivery) -> None:
        seen.append(delivery.payload)
        if len(seen) == 300:
            all_seen.set()
        await delivery.ack()

    async with serving(reader, RECORDS, take):
        await asyncio.gather(*(writer.publish(RECORDS, number) for number in range(300)))
        await all_seen.wait()
        await reader.drained()
    assert sorted(map(int, seen)) == list(range(300))
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen("channel:test:records") == 0
        assert client.xpending("channel:test:records", "servers")["pending"] == 0


async def test_what_was_taken_and_not_acknowledged_goes_to_the_next_server_when_the_first_closes(
    bus_factory, redis_url
):
    writer, second = await bus_factory(), await bus_factory("reader", timings=Timings(lease=600))
    for number in range(3):
        await writer.publish(RECORDS, number)
    async with Bus(
        redis_url, service="reader", instance="first", timings=Timings(lease=600)
    ) as first:
        deliveries = first.serve(RECORDS, slots=3)
        acknowledged, held = await anext(deliveries), await anext(deliveries)
        assert (acknowledged.payload, held.payload) == (b"0", b"1")
        await acknowledged.ack()
    again = second.serve(RECORDS, slots=3)
    assert {(await anext(again)).payload, (await anext(again)).payload} == {b"1", b"2"}


async def test_closing_a_server_hands_over_what_it_had_not_yielded_and_lets_the_rest_finish(
    bus_factory,
):
    patient = Timings(beat=0.1, lease=600)
    caller, first, second = [await bus_factory(timings=patient) for _ in range(3)]
    async with caller.call(TURNS, 1) as one, caller.call(TURNS, 2) as two:
        async with contextlib.aclosing(first.serve(TURNS, slots=2)) as deliveries:
            mine = await anext(deliveries)
            await mine.accept()
        async with serving(second, TURNS, count_up):
            assert [data async for data in two] == [b"0", b"1"]
        draining = asyncio.create_task(first.drained())
        await mine.send(b"still here")
        assert not draining.done()
        await mine.finish()
        await draining
        assert [data async for data in one] == [b"still here"]


async def test_what_a_living_server_takes_its_time_over_is_given_to_no_other(bus_factory):
    brief = Timings(beat=0.05, lease=0.5)
    caller, desk, other = [await bus_factory(timings=brief) for _ in range(3)]
    async with caller.call(ASKS, "may I") as call:
        delivery = await anext(desk.serve(ASKS, slots=1))
        await delivery.accept()
        taken_over = asyncio.ensure_future(anext(other.serve(ASKS, slots=1)))
        await asyncio.wait([taken_over], timeout=2.5 * brief.lease)
        assert not taken_over.done()
        taken_over.cancel()
        await delivery.finish()
        assert [data async for data in call] == []


async def test_what_was_read_does_not_stay_in_redis(bus_factory, redis_url):
    # A caller that does not beat may not be judged either: on a busy machine the replies take longer
    # than the worker's short lease.
    caller, worker = [
        await bus_factory(service, timings=Timings(beat=600)) for service in ("gateway", "worker")
    ]

    async def send_much(delivery: Delivery) -> None:
        for _ in range(10):
            await delivery.send(bytes(TRIM_BYTES // 4))
        await delivery.finish()

    async with serving(worker, TURNS, send_much):
        assert len(await collect(caller, TURNS, 0)) == 10
    with redis.Redis.from_url(redis_url) as client:
        assert (
            sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter("inbox:*"))
            < 2 * TRIM_BYTES
        )


async def test_a_restarted_server_of_the_same_name_finds_its_unfinished_work_at_once(
    bus_factory, redis_url
):
    caller = await bus_factory(timings=Timings(beat=0.1, lease=600))
    async with caller.call(ASKS, "may I") as call:
        crashed = Bus(redis_url, service="desk", instance="desk", timings=Timings(lease=600))
        await crashed.__aenter__()
        before = await anext(crashed.serve(ASKS, slots=1))
        await before.accept()
        await call.accepted()
        again = await bus_factory("desk", instance="desk", timings=Timings(lease=600))
        delivery = await anext(again.serve(ASKS, slots=1))
        await delivery.send(b"you may")
        await delivery.finish()
        assert [data async for data in call] == [b"you may"]
        await crashed.__aexit__()


async def test_a_channel_of_records_nobody_reads_stays_bounded(bus_factory, redis_url):
    writer = await bus_factory()
    await asyncio.gather(
        *(writer.publish(RECORDS, number) for number in range(2 * RECORDS.max_length))
    )
    with redis.Redis.from_url(redis_url) as client:
        assert (
            client.xlen("channel:test:records") <= RECORDS.max_length + 100
        )  # one node of the stream's tree


async def test_closing_ends_open_calls_and_leaves_only_channels_behind(redis_url):
    async with Bus(redis_url, service="gateway", instance="g", timings=QUICK) as bus:
        call = await bus.call(TURNS, 0).__aenter__()
    with pytest.raises(Stopping):
        await anext(call)
    with redis.Redis.from_url(redis_url) as client:
        left = [key for key in client.scan_iter() if not key.startswith(b"holder:")]
        assert left == [b"channel:test:turns"]
        assert client.xlen("channel:test:turns") == 0
        assert unbounded_keys(client) == []


async def collect_once_served(bus: Bus, channel: Channel) -> list[bytes]:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(NoWorker):
                return await collect(bus, channel, 1)


async def test_a_channel_of_one_server_is_there_as_long_as_it_is_served(bus_factory, redis_url):
    caller, one, other = (
        await bus_factory(),
        await bus_factory("worker"),
        await bus_factory("worker"),
    )
    own = TURNS.at(one.address)
    for _ in range(2):
        with pytest.raises(NoWorker):
            await collect(caller, own, 1)
        async with serving(other, TURNS, wait_for_ever), serving(one, own, count_up):
            assert await collect_once_served(caller, own) == [b"0"]
            with redis.Redis.from_url(redis_url) as client:
                assert 0 < client.pttl(f"channel:{own.name}") <= 1000 * QUICK.lease


async def test_slots_taken_elsewhere_are_not_this_channels(bus_factory):
    caller, worker, slots = await bus_factory(), await bus_factory("worker"), Slots(1)
    deliveries = worker.serve(TURNS, slots=slots)
    async with caller.call(TURNS, 0), caller.call(TURNS, 0):
        first = await anext(deliveries)
        slots.take()
        await first.finish()
        second = asyncio.ensure_future(anext(deliveries))
        await caller.waiting(TURNS)  # long enough to have been read
        assert not second.done()
        slots.give_back()
        await (await second).finish()


async def test_a_lease_is_one_owners_until_it_is_given_back_or_runs_out(bus_factory):
    bus = await bus_factory()
    assert await bus.lease("lease", "a", ttl=60)
    assert not await bus.lease("lease", "b", ttl=60)
    assert not await bus.lease("lease", "b", ttl=0)
    assert await bus.lease("lease", "a", ttl=60)
    assert await bus.lease("lease", "a", ttl=0)
    assert await bus.lease("lease", "b", ttl=0.05)
    async with asyncio.timeout(10):
        while not await bus.lease("lease", "a", ttl=60):
            pass


def test_an_address_that_is_none_is_named_as_the_setting_at_fault():
    with pytest.raises(ConfigurationError, match="REDIS__URL"):
        Bus("http://localhost", service="gateway", instance="g")
