"""What the bus keeps besides channels: values with a TTL, and who is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import redis

from shared.bus import Bus
from shared.bus.wire import PROCESSES
from tests.conftest import QUICK, unbounded_keys


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask Redis until it is so; there is nothing to wait on."""
    while not await condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_values_are_kept_found_by_prefix_and_deleted(bus_factory):
    bus = await bus_factory()
    await bus.put("a[*]:1", b"one", ttl=60)
    await bus.put("a[*]:2", b"\x00two", ttl=60)
    await bus.put("ab:3", b"three", ttl=60)
    assert await bus.scan("a[*]:") == {"a[*]:1": b"one", "a[*]:2": b"\x00two"}
    await bus.delete("a[*]:1")
    assert (await bus.get("a[*]:1"), await bus.get("ab:3"), await bus.scan("zz")) == (
        None,
        b"three",
        {},
    )


async def test_a_value_is_gone_after_its_ttl(bus_factory):
    bus = await bus_factory()
    await bus.put("short", b"lived", ttl=0.05)

    async def gone() -> bool:
        return await bus.get("short") is None

    await eventually(gone)


async def test_processes_shows_who_is_alive_and_what_each_says(bus_factory, redis_url):
    bus = await bus_factory("gateway", instance="g0")
    bus.describe(port=8000)
    bus.describe(version="1")

    async def described() -> bool:
        return "version" in (await bus.processes())[-1]

    async with Bus(redis_url, service="analytics", instance="a", timings=QUICK):
        await eventually(described)
        seen = {each["instance"]: each for each in await bus.processes()}
        assert set(seen) == {"g0", "a"}
        assert (seen["g0"]["service"], seen["g0"]["port"], seen["g0"]["version"]) == (
            "gateway",
            8000,
            "1",
        )
    assert [each["instance"] for each in await bus.processes()] == ["g0"]


async def test_processes_are_found_without_a_look_at_other_keys(bus_factory, redis_url):
    bus = await bus_factory("gateway", instance="g0")
    with redis.Redis.from_url(redis_url) as client:
        client.config_resetstat()
        assert [each["instance"] for each in await bus.processes()] == ["g0"]
        assert not {"cmdstat_scan", "cmdstat_keys"} & set(client.info("commandstats"))


async def test_a_process_that_died_silently_leaves_the_list_of_processes(bus_factory, redis_url):
    bus = await bus_factory("gateway", instance="g0")
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(PROCESSES, {"sdk_worker:w0:1-a": 0})
        assert [each["instance"] for each in await bus.processes()] == ["g0"]
        assert client.zrange(PROCESSES, 0, -1) == [bus.address.encode()]


async def test_a_process_that_another_forgot_is_back_with_its_next_heartbeat(
    bus_factory, redis_url
):
    bus = await bus_factory("gateway", instance="g0")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(PROCESSES)

        async def back() -> bool:
            return [each["instance"] for each in await bus.processes()] == ["g0"]

        await eventually(back)
        assert client.ttl(PROCESSES) > 0


async def test_the_leak_check_finds_keys_that_stay_for_ever(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.set("leak", 1)
        client.set("channel:not a stream", 1)
        client.set("fine", 1, ex=60)
        client.xadd("channel:fine", {"a": 1})
        assert sorted(unbounded_keys(client)) == ["channel:not a stream", "leak"]
        client.flushall()
