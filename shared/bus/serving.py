"""The serving side of a channel: a task for each delivery, and one guard around each task.

Invariant: the caller of a delivery always gets an end, which is a result, a typed error, or the
news that this process is stopping.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from shared.bus import Bus, Delivery, Slots
from shared.bus.channels import Channel
from shared.runtime.errors import CCProxyError, Stopping
from shared.runtime.log import get_log

LAST_WORDS_SECONDS = 1.0  # for what is still to be told and settled once the process stops

Handler = Callable[[Delivery], Awaitable[None]]


async def serve_each(
    bus: Bus,
    channel: Channel,
    handle: Handler,
    *,
    slots: int | Slots,
    stop: asyncio.Event,
    drain: asyncio.Event | None = None,
    at_once: int | None = None,
) -> None:
    """Serve `channel` until `stop` is set. `handle` sends replies and returns, or raises a
    CCProxyError.

    `handle` is cancelled when its caller leaves or `stop` is set. An unfinished delivery then fails
    with Stopping, or stays in a `when_done` channel. After `drain` is set no delivery is taken, and
    the function returns when the deliveries in hand are finished. `at_once` as in `Bus.serve`.
    """
    # The deliveries are the outer context: the generator is closed only after every task of the
    # group has settled its delivery.
    async with (
        aclosing(bus.serve(channel, slots=slots, at_once=at_once)) as deliveries,
        asyncio.TaskGroup() as tasks,
    ):

        async def take() -> None:
            async for delivery in deliveries:
                tasks.create_task(_guard(delivery, channel, handle, stop))

        taking = tasks.create_task(take())
        await _any_of(stop, *([drain] if drain else []))
        taking.cancel()


async def _any_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _guard(
    delivery: Delivery, channel: Channel, handle: Handler, stop: asyncio.Event
) -> None:
    """Handle `delivery` and settle it. After `stop` is set, an absent bus gets only a
    moment more.
    """
    outcome = await _run(delivery, handle, stop)
    # Settling waits for as long as Redis is away, which is right until this process must end. So it
    # runs in a task of its own, raced against `stop`.
    settling = asyncio.create_task(_settle(delivery, channel, outcome))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([settling, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not settling.done():
            await asyncio.wait([settling], timeout=LAST_WORDS_SECONDS)
        if not settling.done():
            get_log().warning(
                "delivery_not_settled", channel=channel.name, request_id=delivery.request_id
            )
    finally:
        stopping.cancel()
        settling.cancel()
    # The cancelled task is awaited: its `finally` frees the slot, and an error of settling still
    # comes out here.
    with contextlib.suppress(asyncio.CancelledError):
        await settling


async def _settle(delivery: Delivery, channel: Channel, outcome: BaseException | None) -> None:
    """Report the outcome of handling to the caller, and take the delivery out of the channel."""
    if outcome is None:
        await delivery.finish()
    elif isinstance(outcome, CCProxyError):
        await delivery.fail(outcome)
    elif not isinstance(outcome, asyncio.CancelledError):
        get_log().error(
            "delivery_failed",
            channel=channel.name,
            request_id=delivery.request_id,
            exc_info=outcome,
        )
        await delivery.fail(CCProxyError())
    # Cut short by the stop or by the caller. An `on_accept` entry has left the channel, so only
    # this process can tell the caller. A `when_done` entry stays for the next server, unless its
    # caller is gone: then `fail` only takes the entry out of the channel.
    elif channel.acknowledged == "on_accept" or delivery.caller_gone.is_set():
        await delivery.fail(Stopping())


async def _run(delivery: Delivery, handle: Handler, stop: asyncio.Event) -> BaseException | None:
    """Handle `delivery`. Return None, the exception of the handler, or CancelledError if handling
    was cut short.
    """

    async def accept_and_handle() -> None:
        await delivery.accept()
        await handle(delivery)

    work = asyncio.create_task(accept_and_handle())
    ends = [asyncio.create_task(delivery.caller_gone.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, *ends):
            task.cancel()
    # The handler may still be cleaning up after its cancellation; the delivery is settled after
    # that.
    (outcome,) = await asyncio.gather(work, return_exceptions=True)
    return outcome
