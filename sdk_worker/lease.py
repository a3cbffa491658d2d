"""One at a time, on whichever worker: a name in Redis that is one turn's while it runs.

A holder that cannot renew it gives up before anyone else may begin, so two never hold it at once;
after a crash it runs out by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from shared.runtime.errors import BusUnavailable, Conflict

ASK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Terms:
    """The times of a lease, in seconds.

    `ttl`: the wait of the next holder after a crash (no call survives a longer absence of Redis);
    `renew`: the pause between renewals; `margin`: the time before the lease's end at which a holder
    gives up, to finish running work.
    """

    ttl: float = 10.0
    renew: float = 2.5
    margin: float = 2.0


TERMS = Terms()


class LeaseStore(Protocol):
    """The verb of the bus needed by the module."""

    async def lease(self, key: str, owner: str, *, ttl: float) -> bool: ...


@contextlib.asynccontextmanager
async def hold_lease(
    store: LeaseStore, key: str, *, timeout: float, terms: Terms = TERMS
) -> AsyncIterator[None]:
    """Hold the lease `key` while the context is open.

    Raises Conflict when another holder keeps the lease for `timeout` seconds, and BusUnavailable,
    also in the middle of the block, when Redis can no longer confirm the holder.
    """
    owner = secrets.token_hex(8)
    loop = asyncio.get_running_loop()
    try:
        try:
            async with asyncio.timeout(timeout):
                asked = loop.time()
                while not await store.lease(key, owner, ttl=terms.ttl):
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
                    asked = loop.time()
        except TimeoutError:
            raise Conflict(
                "This conversation is still busy with another turn; ask again when that is over."
            ) from None
        async with _while_renewed(store, key, owner, terms, asked):
            yield
    finally:
        # Also after a wait that failed or was cancelled: Redis may have granted the lease although
        # the answer never came. A lease of another owner is not touched.
        with contextlib.suppress(BusUnavailable):
            await store.lease(key, owner, ttl=0)


@contextlib.asynccontextmanager
async def _while_renewed(
    store: LeaseStore, key: str, owner: str, terms: Terms, asked: float
) -> AsyncIterator[None]:
    """End the block in time when the lease is lost. `asked` is the time of the loop at which the
    granted request left.
    """
    loop = asyncio.get_running_loop()
    lasts = terms.ttl - terms.margin

    # Every term is measured from before its request leaves, the first one too. Redis counts from a
    # later moment, so this side gives up before Redis lets another holder in.
    async def renew() -> None:
        while not limit.expired():
            await asyncio.sleep(terms.renew)
            asked_again = loop.time()
            with contextlib.suppress(BusUnavailable):
                ours = await store.lease(key, owner, ttl=terms.ttl)
                # The answer may come after the limit has fired, and a fired limit cannot be moved.
                if not limit.expired():
                    # A lease that belongs to another owner ends the block at once: `asked_again`
                    # has passed.
                    limit.reschedule(asked_again + lasts if ours else asked_again)

    try:
        async with asyncio.timeout_at(asked + lasts) as limit:
            renewing = asyncio.create_task(renew())
            try:
                yield
            finally:
                renewing.cancel()
    except TimeoutError:
        # A TimeoutError of the block itself says nothing about the lease.
        if not limit.expired():
            raise
        raise BusUnavailable(
            "Redis was away for so long that this conversation may have gone on elsewhere."
        ) from None
