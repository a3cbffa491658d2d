"""Transcripts in Redis: what the SDK asks of a `SessionStore`, by its own suite, and our bounds."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import redis
from claude_agent_sdk.testing import run_session_store_conformance

from shared.bus.bounded import BoundedStore
from shared.bus.session_store import RedisSessionStore
from shared.runtime.errors import BusUnavailable, TooLarge

KEY = {"project_key": "session:a", "session_id": "t1"}
MEBIBYTE = 1024 * 1024


def entry(number, text=""):
    return {"type": "user", "uuid": f"u{number}", "message": {"content": text}}


@pytest.fixture
async def open_store(bus_factory):
    bus = await bus_factory()
    names = itertools.count()

    def make(*, most=MEBIBYTE, limit=4 * MEBIBYTE, name=None):
        kept = BoundedStore(bus, name or f"kept{next(names)}", lifetime=60, limit=limit)
        return RedisSessionStore(kept, most_bytes=most)

    return make


async def test_the_store_keeps_every_contract_of_the_sdk(open_store):
    await run_session_store_conformance(open_store)


async def test_a_batch_that_is_sent_again_is_loaded_once_and_marks_without_an_id_stay(open_store):
    store = open_store()
    mark = {"type": "mode", "mode": "default"}
    for _ in range(2):
        await store.append(KEY, [entry(1), mark, entry(2)])
    assert await store.load(KEY) == [entry(1), mark, entry(2), mark]


async def test_entries_keep_every_digit_and_every_half_character(open_store):
    store = open_store()
    odd = {"type": "user", "uuid": "u", "big": 2**70, "half": "\ud83d", "nested": [None, 0.1]}
    await store.append(KEY, [odd])
    assert await store.load(KEY) == [odd]


async def test_a_long_transcript_is_read_in_the_order_of_its_writing(open_store):
    store = open_store()
    for number in range(20):
        await store.append(KEY, [entry(number, f"{number} " * 40_000)])
    loaded = await store.load(KEY)
    assert [each["uuid"] for each in loaded] == [f"u{number}" for number in range(20)]


@pytest.mark.parametrize(("most", "limit"), [(2_000, MEBIBYTE), (MEBIBYTE, 2_000)])
async def test_a_transcript_beyond_its_limit_is_refused_and_forgotten_whole(
    open_store, most, limit
):
    store = open_store(most=most, limit=limit)
    await store.append(KEY, [entry(1)])
    noise = "".join(chr(33 + number * 7919 % 5003) for number in range(5_000))
    with pytest.raises(TooLarge, match="SDK__TRANSCRIPT_BYTES"):
        await store.append(KEY, [entry(2, noise)])
    assert await store.load(KEY) is None


async def test_the_transcripts_unused_for_longest_make_room(open_store):
    store = open_store(limit=3_000)
    noise = "".join(chr(33 + number * number * 7919 % 5003) for number in range(600))
    for name in ("t1", "t2", "t3", "t4", "t5", "t6"):
        await store.append({**KEY, "session_id": name}, [entry(1, noise + name)])
    assert await store.load({**KEY, "session_id": "t1"}) is None
    assert await store.load({**KEY, "session_id": "t6"}) is not None


async def test_every_key_of_a_transcript_has_a_lifetime(open_store, redis_url):
    store = open_store(name="bounded")
    await store.append({**KEY, "subpath": "subagents/agent-1"}, [entry(1)])
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter("bounded*"))
        assert len(keys) == 3
        assert all(0 < client.ttl(key) <= 60 for key in keys)


async def test_parts_that_two_subagents_write_at_once_are_both_deleted_alone(open_store):
    store = open_store()
    parts = [{**KEY, "subpath": f"subagents/agent-{number}"} for number in range(4)]
    await asyncio.gather(*(store.append(part, [entry(1)]) for part in parts))
    await asyncio.gather(*(store.delete(part) for part in parts[:2]))
    assert sorted(await store.list_subkeys(KEY)) == ["subagents/agent-2", "subagents/agent-3"]


async def test_without_redis_every_verb_says_so(bus_factory, own_redis):
    bus = await bus_factory(url=own_redis.url)
    store = RedisSessionStore(
        BoundedStore(bus, "kept", lifetime=60, limit=MEBIBYTE), most_bytes=MEBIBYTE
    )
    await store.append(KEY, [entry(1)])
    own_redis.kill()
    for verb in (store.append(KEY, [entry(2)]), store.load(KEY), store.delete(KEY)):
        with pytest.raises(BusUnavailable):
            await verb
