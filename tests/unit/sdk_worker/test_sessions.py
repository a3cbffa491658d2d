from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from sdk_worker.sessions import LARGEST_BYTES, Sessions
from sdk_worker.turn import read_turn
from shared.bus.channels import KnownSession, Turn, decode_payload, encode_payload, session_key
from shared.runtime.errors import BusUnavailable, Conflict, UpstreamError
from shared.settings.providers import CodeOptions
from tests.support.sdk_stack import Shelf

FEED = read_turn(
    {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ]
    }
)
LIMITS = {"limit": 2, "idle": 60.0, "timeout": 20.0, "kept_by": "here"}
SPOKE = SimpleNamespace(transcript="t1", result={"total_cost_usd": 0.5})


class Program:
    def __init__(self):
        self.lines, self.bytes, self.asked = [], 0, []
        self.refusal = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_asked = asyncio.Event()

    async def control(self, subtype, **request):
        self.asked.append(subtype)
        self.is_asked.set()
        await self.answers.wait()
        if self.refusal:
            raise self.refusal

    def read_now(self):
        return self.lines.pop(0) if self.lines else None

    def resident_bytes(self):
        return self.bytes


class Conversation:
    def __init__(self, launch):
        self.launch, self.program, self.alive = launch, Program(), True


class Pool:
    def __init__(self):
        self.lost_transcripts = False

    async def take(self, launch, binding):
        return Conversation(launch)

    async def start(self, launch, binding):
        if self.lost_transcripts:
            raise UpstreamError
        return Conversation(launch)

    def retire(self, session):
        session.alive = False
        return asyncio.ensure_future(asyncio.sleep(0))


class Faulty(Shelf):
    down = False

    def __init__(self):
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_asked = asyncio.Event()

    async def put(self, key, value, *, ttl):
        self.is_asked.set()
        await self.answers.wait()
        if self.down:
            raise BusUnavailable
        await super().put(key, value, ttl=ttl)


class House:
    def __init__(self, **limits):
        self.pool, self.shelf = Pool(), Faulty()
        self.sessions = Sessions(self.pool, self.shelf, CodeOptions(), **(LIMITS | limits))

    async def turn(self, name, spoke=SPOKE, feed=FEED, fault=None):
        """One turn; the session it ran on, and how much of the history it was told."""
        turn = Turn("r1", {}, caller="me", session_id=name)
        async with self.sessions.hold(session_key(turn), turn, feed, spoke) as (
            session,
            unheard,
            spent,
        ):
            if fault:
                raise fault
            return session, len(unheard.history), spent


async def test_a_new_name_is_told_everything_and_its_next_turn_only_what_is_new():
    house = House()
    first, told, spent = await house.turn("a")
    assert (told, spent, first.launch.kept) == (2, 0.0, True)
    again, told, spent = await house.turn("a")
    assert (again, told, spent) == (first, 0, 0.5)


async def test_what_another_worker_continued_is_resumed():
    house = House()
    first, *_ = await house.turn("a")
    house.shelf.values[session_key(Turn("r", {}, caller="me", session_id="a"))] = encode_payload(
        KnownSession("t2", turns=7)
    )
    second, told, _ = await house.turn("a")
    assert not first.alive
    assert (second.launch.resumed, told) == ("t2", 0)


@pytest.mark.parametrize("spoil", ["dies", "speaks unasked", "gets another system prompt"])
async def test_a_process_that_cannot_be_trusted_is_replaced(spoil):
    house, feed = House(), FEED
    first, *_ = await house.turn("a")
    if spoil == "dies":
        first.alive = False
    elif spoil == "speaks unasked":
        first.program.lines = [{"type": "system"}, {"type": "assistant"}]
    else:
        feed = read_turn({"messages": [{"role": "user", "content": "x"}], "system": "another"})
    second, *_ = await house.turn("a", feed=feed)
    assert second.launch.resumed == "t1"
    assert not first.alive


async def test_a_turn_that_fails_ends_its_process_and_the_name_keeps_its_transcript():
    house = House()
    await house.turn("a")
    with pytest.raises(UpstreamError):
        await house.turn("a", fault=UpstreamError())
    session, *_ = await house.turn("a")
    assert session.launch.resumed == "t1"


async def test_a_turn_that_was_cut_is_remembered_without_its_process():
    house = House()
    first, *_ = await house.turn("a", spoke=SimpleNamespace(transcript="t1", result={}))
    assert not first.alive
    assert (await house.turn("a"))[0].launch.resumed == "t1"


async def test_a_lost_transcript_is_made_up_for_by_what_the_client_sent():
    house = House(limit=0)
    await house.turn("a")
    house.pool.lost_transcripts = True
    session, told, _ = await house.turn("a")
    assert (session.launch.resumed, told) == (None, 2)


async def test_only_so_many_processes_are_kept_and_the_longest_unused_goes_first():
    house = House(limit=2)
    first, second, third = [(await house.turn(name))[0] for name in "abc"]
    assert [first.alive, second.alive, third.alive] == [False, True, True]


async def test_a_process_that_waits_too_long_or_grew_too_large_is_ended():
    house = House(idle=0.0)
    idle, *_ = await house.turn("a")
    await asyncio.sleep(0.001)
    assert not idle.alive
    large = House()
    turn = Turn("r1", {}, caller="me", session_id="a")
    async with large.sessions.hold("a", turn, FEED, SPOKE) as (session, *_):
        session.program.bytes = LARGEST_BYTES + 1
    assert not session.alive


async def test_what_redis_cannot_remember_is_not_kept_and_harms_no_turn():
    house = House()
    house.shelf.down = True
    session, *_ = await house.turn("a")
    assert not session.alive


async def test_a_kept_process_that_refuses_the_settings_of_its_next_turn_is_ended():
    house = House()
    session, *_ = await house.turn("a")
    session.program.refusal = UpstreamError("no")
    with pytest.raises(UpstreamError, match="no"):
        await house.turn("a")
    assert not session.alive
    assert house.sessions.kept() == 0


async def test_a_kept_process_whose_next_turn_is_cancelled_during_its_settings_is_ended():
    house = House()
    session, *_ = await house.turn("a")
    session.program.answers.clear()
    asked = asyncio.create_task(house.turn("a"))
    await session.program.is_asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not session.alive
    assert house.shelf.leases == {}


async def test_a_process_whose_turn_is_cancelled_while_redis_stores_the_turn_is_ended():
    house, sessions = House(), []
    house.shelf.answers.clear()
    turn = Turn("r1", {}, caller="me", session_id="a")

    async def run():
        async with house.sessions.hold("a", turn, FEED, SPOKE) as (session, *_):
            sessions.append(session)

    running = asyncio.create_task(run())
    await house.shelf.is_asked.wait()
    assert sessions[0].alive
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sessions[0].alive
    assert house.sessions.kept() == 0
    assert house.shelf.leases == {}


async def test_one_turn_of_a_name_runs_at_a_time():
    house, order, inside = House(), [], asyncio.Event()
    turn = Turn("r1", {}, caller="me", session_id="a")

    async def run(number):
        async with house.sessions.hold("a", turn, FEED, SPOKE):
            order.append(f"in {number}")
            inside.set()
            await asyncio.sleep(0)
            order.append(f"out {number}")

    await asyncio.gather(run(1), run(2))
    assert order == ["in 1", "out 1", "in 2", "out 2"]


async def test_who_keeps_the_process_is_told_only_while_it_is_kept():
    house = House()
    for spoke, kept_by in [(SPOKE, "here"), (SimpleNamespace(transcript="t1", result={}), "")]:
        await house.turn("a", spoke=spoke)
        [stored] = house.shelf.values.values()
        assert decode_payload(KnownSession, stored).kept_by == kept_by
    assert house.shelf.leases == {}


async def test_another_turn_is_not_waited_for_for_ever():
    house = House(timeout=0.01)
    turn = Turn("r1", {}, caller="me", session_id="a")
    async with house.sessions.hold("a", turn, FEED, SPOKE):
        with pytest.raises(Conflict, match="busy with another turn"):
            async with house.sessions.hold("a", turn, FEED, SPOKE):
                pass
