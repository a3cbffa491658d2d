"""The bounded store on a real Redis: lifetimes, limits, aliases, and no key that stays."""

from __future__ import annotations

import asyncio
import time

import redis

from shared.bus.bounded import ALIAS_BYTES, ENTRY_BYTES, BoundedStore, Use


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


async def store(bus_factory, *, limit: int = 10_000, clock: Clock | None = None) -> BoundedStore:
    bus = await bus_factory()
    return BoundedStore(bus, "kept", lifetime=60, limit=limit, clock=clock or Clock())


async def test_values_are_returned_in_the_order_asked_for(bus_factory):
    kept = await store(bus_factory)
    assert await kept.put("me", "a", b"one")
    assert await kept.put("me", "b", b"\x00two")
    assert await kept.get("me", ["b", "missing", "a"]) == [b"\x00two", None, b"one"]
    assert await kept.get("me", []) == []


async def test_an_owner_never_sees_the_values_of_another_owner(bus_factory):
    kept = await store(bus_factory)
    await kept.put("me", "a", b"one", ["alias"])
    assert await kept.get("you", ["a"]) == [None]
    assert await kept.find("you", ["alias"]) == [None]
    assert not await kept.delete("you", "a")
    assert await kept.get("", ["a"]) == [None]


async def test_an_alias_ends_with_its_value(bus_factory):
    kept = await store(bus_factory)
    await kept.put("me", "a", b"one", ["x", "y"])
    assert await kept.find("me", ["y", "z", "x"]) == ["a", None, "a"]
    assert await kept.delete("me", "a")
    assert await kept.find("me", ["x", "y"]) == [None, None]
    assert not await kept.delete("me", "a")


async def test_a_value_put_again_replaces_the_old_one_and_is_counted_once(bus_factory):
    kept = await store(bus_factory)
    await kept.put("me", "a", b"one", ["x"])
    await kept.put("me", "a", b"three", ["y"])
    assert await kept.find("me", ["x", "y"]) == [None, "a"]
    assert (await kept.uses(["me"]))["me"] == Use(1, len(b"three") + ENTRY_BYTES + ALIAS_BYTES)


async def test_the_values_unused_for_longest_make_room(bus_factory):
    clock = Clock()
    kept = await store(bus_factory, limit=3 * (ENTRY_BYTES + 10), clock=clock)
    for name in ("a", "b", "c"):
        await kept.put("me", name, b"0123456789")
        clock.tick(1)
    await kept.get("me", ["a"])
    await kept.put("me", "d", b"0123456789")
    assert await kept.get("me", ["a", "b", "c", "d"]) == [
        b"0123456789",
        None,
        b"0123456789",
        b"0123456789",
    ]
    assert (await kept.uses(["me"]))["me"].values == 3


async def test_a_value_larger_than_the_limit_is_refused_and_pushes_nothing_out(bus_factory):
    kept = await store(bus_factory, limit=1000)
    await kept.put("me", "a", b"one")
    assert not await kept.put("me", "b", bytes(1000))
    assert await kept.get("me", ["a", "b"]) == [b"one", None]


async def test_a_value_is_gone_after_its_lifetime_unless_it_was_read(bus_factory):
    clock = Clock()
    kept = await store(bus_factory, clock=clock)
    await kept.put("me", "read", b"one", ["alias"])
    await kept.put("me", "left", b"two")
    clock.tick(50)
    assert await kept.get("me", ["read"]) == [b"one"]
    clock.tick(50)
    assert await kept.get("me", ["left"]) == [None]
    assert await kept.find("me", ["alias"]) == ["read"]
    assert (await kept.uses(["me"]))["me"].values == 1


async def test_the_uses_of_several_owners_are_counted_by_one_question(bus_factory):
    clock = Clock()
    kept = await store(bus_factory, clock=clock)
    await kept.put("me", "old", b"one")
    await kept.put("you", "old", b"three")
    clock.tick(50)
    await kept.put("you", "new", b"x")
    clock.tick(20)
    assert await kept.uses(["me", "you", "nobody"]) == {
        "me": Use(0, 0),
        "you": Use(1, 1 + ENTRY_BYTES),
        "nobody": Use(0, 0),
    }
    assert await kept.uses([]) == {}


async def test_two_writers_lose_no_count(bus_factory, redis_url):
    first = await store(bus_factory)
    second = await store(bus_factory)
    await asyncio.gather(
        *(each.put("me", f"{number}", b"x") for number in range(10) for each in (first, second))
    )
    assert (await first.uses(["me"]))["me"] == Use(10, 10 * (ENTRY_BYTES + 1))
    for number in range(10):
        await second.delete("me", f"{number}")
    assert (await first.uses(["me"]))["me"] == Use(0, 0)
    with redis.Redis.from_url(redis_url) as client:
        assert not [key for key in client.keys("kept:*") if b":value:" in key or b":alias:" in key]


async def test_only_the_first_of_two_writers_replaces_what_both_have_read(bus_factory):
    kept = await store(bus_factory)
    await kept.put("me", "a", b"one", ["alias"])
    assert await kept.replace("me", "a", b"one", b"three")
    assert not await kept.replace("me", "a", b"one", b"other")
    assert await kept.get("me", ["a"]) == [b"three"]
    assert await kept.find("me", ["alias"]) == ["a"]
    assert (await kept.uses(["me"]))["me"] == Use(1, len(b"three") + ENTRY_BYTES + ALIAS_BYTES)


async def test_a_value_that_is_gone_is_not_replaced(bus_factory):
    kept = await store(bus_factory)
    assert not await kept.replace("me", "a", b"one", b"two")
    assert await kept.get("me", ["a"]) == [None]


async def test_a_value_that_grows_makes_room(bus_factory):
    clock = Clock()
    kept = await store(bus_factory, limit=2 * (ENTRY_BYTES + 10), clock=clock)
    for name in ("a", "b"):
        await kept.put("me", name, b"0123456789")
        clock.tick(1)
    assert await kept.replace("me", "b", b"0123456789", b"0123456789+")
    assert await kept.get("me", ["a", "b"]) == [None, b"0123456789+"]
