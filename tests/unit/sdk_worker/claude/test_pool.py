from __future__ import annotations

import asyncio
import itertools

import pytest

from sdk_worker.claude.launch import Binding, Launch
from sdk_worker.claude.pool import IDLE_SECONDS, REMEMBERED_SECONDS, SPARE_SECONDS, Pool
from shared.runtime.errors import NoWorker, UpstreamError

HERE, ELSEWHERE = Launch(), Launch(cwd="/elsewhere")
PIRATE, POET = Binding(system=("pirate",)), Binding(system=("poet",))


class Session:
    def __init__(self, number, launch):
        self.number, self.launch, self.told, self.alive = number, launch, None, True
        self.may_begin, self.ended = asyncio.Event(), asyncio.Event()
        self.may_begin.set()

    async def begun(self):
        waiting = [asyncio.create_task(event.wait()) for event in (self.may_begin, self.ended)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if self.ended.is_set():
            raise UpstreamError("ended")

    async def close(self):
        self.alive = False
        self.ended.set()


class House:
    """A pool of sessions that cost nothing, its clock, and what was made."""

    def __init__(self, size=2, *, warm_at_start=True):
        self.now, self.made, self.may_start, self.fault = 0.0, [], asyncio.Event(), None
        self.may_start.set()
        self._numbers = itertools.count()
        self.login = "none"
        self.pool = Pool(
            self.start,
            self.tell,
            size=size,
            launch=HERE,
            lull=0,
            clock=lambda: self.now,
            login_state=lambda: self.login,
            warm_at_start=warm_at_start,
        )

    async def start(self, launch):
        await self.may_start.wait()
        if self.fault:
            raise self.fault
        self.made.append(Session(next(self._numbers), launch))
        return self.made[-1]

    async def tell(self, session, binding):
        if not session.alive:
            raise UpstreamError
        assert session.told is None
        session.told = binding

    def living(self):
        return [session for session in self.made if session.alive]

    async def settle(self):
        """Let the filling do what it can now do."""
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.fixture
async def filled():
    house = House()
    filling = asyncio.create_task(house.pool.keep_filled())
    await house.settle()
    yield house
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await house.pool.drain()
    assert house.living() == []


async def test_a_turn_takes_a_spare_and_another_takes_its_place(filled):
    taken = await filled.pool.take(HERE, PIRATE)
    assert (taken.number, taken.told) == (0, PIRATE)
    await filled.settle()
    assert filled.pool.counts()["idle"] == 2
    assert (filled.pool.warm, filled.pool.cold) == (1, 0)
    filled.pool.retire(taken)


async def test_no_session_is_given_out_twice(filled):
    taken = [await filled.pool.take(HERE, PIRATE) for _ in range(6)]
    assert len({session.number for session in taken}) == 6
    for session in taken:
        filled.pool.retire(session)


async def test_what_is_asked_for_again_and_again_has_a_spare_that_was_told_already(filled):
    for _ in range(2):
        filled.pool.retire(await filled.pool.take(HERE, PIRATE))
        await filled.settle()
    assert sorted(str(session.told) for session in filled.living()) == sorted([str(PIRATE), "None"])
    assert (await filled.pool.take(HERE, PIRATE)).told == PIRATE
    filled.pool.retire(filled.living()[0])
    for session in filled.living():
        filled.pool.retire(session)


async def test_what_was_asked_for_once_changes_nothing(filled):
    filled.pool.retire(await filled.pool.take(HERE, POET))
    await filled.settle()
    assert [session.told for session in filled.living()] == [None, None]


async def test_another_launch_starts_cold_and_is_kept_ready_once_it_comes_back(filled):
    for binding in (PIRATE, POET):
        taken = await filled.pool.take(ELSEWHERE, binding)
        assert taken.launch == ELSEWHERE
        filled.pool.retire(taken)
        await filled.settle()
    assert filled.pool.cold == 2
    assert [session.launch for session in filled.living()].count(ELSEWHERE) == 1


async def test_habits_are_forgotten(filled):
    for _ in range(2):
        filled.pool.retire(await filled.pool.take(HERE, PIRATE))
    filled.now += REMEMBERED_SECONDS
    assert all(readiness.binding is None for readiness in filled.pool.wanted())
    await filled.settle()


async def test_a_spare_that_died_is_no_turns_problem(filled):
    for session in filled.made:
        session.alive = False
    taken = await filled.pool.take(HERE, PIRATE)
    assert taken.alive
    filled.pool.retire(taken)


async def test_a_spare_that_died_after_it_was_told_is_not_given_out(filled):
    for _ in range(2):
        filled.pool.retire(await filled.pool.take(HERE, PIRATE))
        await filled.settle()
    for session in filled.made:
        session.alive = False
    taken = await filled.pool.take(HERE, PIRATE)
    assert taken.alive
    filled.pool.retire(taken)


async def test_an_old_spare_is_replaced(filled):
    first = filled.living()
    filled.now += SPARE_SECONDS
    filled.pool.retire(await filled.pool.take(HERE, PIRATE))
    await filled.settle()
    assert not any(session.alive for session in first)
    assert filled.pool.counts()["idle"] == 2


async def test_a_start_that_fails_is_told_to_the_turn_and_kept_as_the_pools_problem():
    house = House(size=1)
    house.fault = NoWorker("no program")
    filling = asyncio.create_task(house.pool.keep_filled())
    await house.settle()
    assert house.pool.problem == "no program"
    with pytest.raises(NoWorker):
        await house.pool.take(HERE, PIRATE)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)


async def test_a_process_nobody_waits_for_any_more_is_ended_once_it_is_there():
    house = House(size=0)
    house.may_start.clear()
    waiting = asyncio.create_task(house.pool.take(HERE, PIRATE))
    await house.settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    house.may_start.set()
    await house.settle()
    await house.pool.drain()
    assert len(house.made) == 1
    assert house.living() == []


async def test_without_a_pool_every_turn_starts_its_own():
    house = House(size=0)
    assert sum(house.pool.wanted().values()) == 0
    taken = await house.pool.take(HERE, PIRATE)
    house.pool.retire(taken)
    await house.pool.drain()
    assert house.pool.cold == 1


async def test_the_pool_counts_what_it_has_and_what_it_did():
    house = House(size=1)
    house.may_start.clear()
    waiting = asyncio.create_task(house.pool.take(HERE, PIRATE))
    await house.settle()
    assert house.pool.counts()["waiting"] == 1
    house.may_start.set()
    cold = await waiting
    filling = asyncio.create_task(house.pool.keep_filled())
    await house.settle()
    warm = await house.pool.take(HERE, PIRATE)
    await house.settle()
    counted = {"size": 1, "idle": 1, "busy": 2, "waiting": 0, "starts": 3, "hits": 1, "misses": 1}
    assert house.pool.counts() == counted
    assert len(house.pool.owned) == 3
    house.pool.retire(cold)
    house.pool.retire(warm)
    await house.settle()
    assert house.pool.counts() == counted | {"busy": 0}
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await house.pool.drain()
    assert not house.pool.owned


async def test_what_cannot_be_started_any_more_is_not_kept_ready():
    house = House()
    for _ in range(2):
        house.pool.retire(await house.pool.take(ELSEWHERE, PIRATE))
    house.fault = UpstreamError("the directory is gone")
    filling = asyncio.create_task(house.pool.keep_filled())
    await house.settle()
    assert not [readiness for readiness in house.pool.wanted() if readiness == (ELSEWHERE, PIRATE)]
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await house.pool.drain()


async def test_a_process_that_is_just_beginning_holds_up_no_stop():
    house = House(size=0)
    begin = house.start

    async def start(launch):
        session = await begin(launch)
        session.may_begin.clear()
        return session

    pool = Pool(start, house.tell, size=0, launch=HERE)
    taking = asyncio.create_task(pool.take(HERE, PIRATE))
    await house.settle()
    taking.cancel()
    await pool.drain()
    assert house.living() == []
    assert pool.owned == set()


async def test_a_spare_from_before_a_login_is_not_taken(filled):
    before = filled.living()
    filled.login = "alice"
    taken = await filled.pool.take(HERE, PIRATE)
    assert taken not in before
    await filled.settle()
    assert not any(session.alive for session in before)
    filled.pool.retire(taken)


async def test_spares_whose_login_was_refused_are_replaced(filled):
    before = filled.living()
    filled.pool.drop_spares()
    await filled.settle()
    assert not any(session.alive for session in before)
    assert len(filled.living()) == len(before)


async def test_no_process_is_started_before_the_first_request_and_spares_follow_it():
    house = House(warm_at_start=False)
    filling = asyncio.create_task(house.pool.keep_filled())
    await house.settle()
    assert house.made == []
    taken = await house.pool.take(HERE, PIRATE)
    await house.settle()
    assert len(house.living()) == 3
    house.pool.retire(taken)
    filling.cancel()


@pytest.mark.parametrize(("warm_at_start", "left"), [(False, 0), (True, 1)])
async def test_spares_end_after_half_an_hour_without_a_request(warm_at_start, left):
    house = House(warm_at_start=warm_at_start)
    house.pool.retire(await house.pool.take(HERE, PIRATE))
    await house.pool._fill()
    assert sum(house.pool.wanted().values()) == 2
    house.now = IDLE_SECONDS
    await house.pool._fill()
    await house.settle()
    assert len(house.living()) == left
    assert house.pool.counts()["size"] == left
