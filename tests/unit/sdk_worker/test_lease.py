from __future__ import annotations

import asyncio
import contextlib

import pytest

from sdk_worker.lease import Terms, hold_lease
from shared.runtime.errors import BusUnavailable, Conflict
from tests.support.sdk_stack import Shelf


class Redis(Shelf):
    away = False

    async def lease(self, key, owner, *, ttl):
        if self.away:
            raise BusUnavailable
        return await super().lease(key, owner, ttl=ttl)


QUICK = Terms(ttl=0.1, renew=0.01, margin=0.02)


async def test_a_lease_is_given_back_at_the_end_whatever_the_end():
    shelf = Shelf()
    for fault in (None, ValueError(), asyncio.CancelledError()):
        with contextlib.suppress(ValueError, asyncio.CancelledError):
            async with hold_lease(shelf, "k", timeout=1):
                assert shelf.leases
                if fault:
                    raise fault
        assert not shelf.leases


async def test_it_lasts_as_long_as_it_is_renewed():
    async with hold_lease(Shelf(), "k", timeout=1, terms=QUICK):
        await asyncio.sleep(3 * QUICK.ttl)


@pytest.mark.parametrize("fault", ["redis is away", "somebody else has it"])
async def test_a_holder_that_cannot_renew_is_stopped_before_another_may_begin(fault):
    redis = Redis()

    async def work():
        async with hold_lease(redis, "k", timeout=1, terms=QUICK):
            redis.away = fault == "redis is away"
            redis.leases["k"] = "other"
            await asyncio.Event().wait()

    with pytest.raises(BusUnavailable, match="elsewhere"):
        await work()
    assert redis.leases == {"k": "other"}


async def test_a_time_out_of_the_work_itself_stays_one():
    with pytest.raises(TimeoutError):
        async with hold_lease(Shelf(), "k", timeout=1):
            raise TimeoutError


async def test_who_waits_gets_it_next_or_hears_that_it_is_taken():
    shelf = Shelf()
    async with hold_lease(shelf, "k", timeout=1):
        with pytest.raises(Conflict):
            async with hold_lease(shelf, "k", timeout=0.01):
                pass
        patient = asyncio.ensure_future(hold_lease(shelf, "k", timeout=10).__aenter__())
        await asyncio.sleep(0)
        assert not patient.done()
    await patient
    assert shelf.leases


class Slow(Shelf):
    """Grants a lease at once, and answers `late` seconds afterwards."""

    def __init__(self, late):
        super().__init__()
        self.late = late

    async def lease(self, key, owner, *, ttl):
        granted = await super().lease(key, owner, ttl=ttl)
        await asyncio.sleep(self.late)
        return granted


async def test_a_first_grant_counts_from_the_request_not_from_a_late_answer():
    terms = Terms(ttl=10, renew=10, margin=9.99)
    store = Slow(2 * (terms.ttl - terms.margin))

    async def work():
        async with hold_lease(store, "k", timeout=1, terms=terms):
            for _ in range(5):
                await asyncio.sleep(0)

    with pytest.raises(BusUnavailable):
        await work()
