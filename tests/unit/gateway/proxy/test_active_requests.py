"""Interrupting a request ends it with the reason given, once, and never a stranger's
cancellation.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.proxy.active_requests import ActiveRequest, ActiveRequests, Timeouts
from shared.runtime.errors import CallerGone, Stopping, UpstreamTimeout
from shared.runtime.states import ImpossibleStep

FOREVER = Timeouts()


async def forever() -> Any:
    await asyncio.Event().wait()


async def waiting(
    active_requests: ActiveRequests, ready: asyncio.Event, flight_box: list[ActiveRequest]
) -> None:
    active = active_requests.open()
    active.begin_waiting(active_requests.timeouts.first_byte, forever)
    try:
        with active:
            flight_box.append(active)
            ready.set()
            await asyncio.Event().wait()
    finally:
        active_requests.close(active)


async def start(active_requests: ActiveRequests) -> tuple[asyncio.Task[None], ActiveRequest]:
    ready, box = asyncio.Event(), list[ActiveRequest]()
    task = asyncio.create_task(waiting(active_requests, ready, box))
    await ready.wait()
    return task, box[0]


async def test_the_first_reason_is_the_one_that_is_raised() -> None:
    task, active = await start(ActiveRequests(FOREVER))
    active.interrupt(CallerGone())
    active.interrupt(Stopping())
    with pytest.raises(CallerGone):
        await task
    assert not task.cancelling()


async def test_a_cancellation_from_outside_stays_one() -> None:
    task, _ = await start(ActiveRequests(FOREVER))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reason_given_between_two_waits_is_met_at_the_next() -> None:
    active = ActiveRequests(FOREVER).open()
    active.interrupt(Stopping())
    with pytest.raises(Stopping), active:
        pytest.fail("must not be entered")


async def test_after_stop_no_request_begins() -> None:
    active_requests = ActiveRequests(FOREVER)
    await active_requests.stop(0)
    with pytest.raises(Stopping), active_requests.open():
        pytest.fail("must not be entered")


async def test_stop_gives_open_requests_their_grace() -> None:
    active_requests = ActiveRequests(FOREVER)
    task, active = await start(active_requests)
    stopping = asyncio.create_task(active_requests.stop(30))
    await asyncio.sleep(0)
    active.interrupt(CallerGone())  # it ends by itself within its grace
    with pytest.raises(CallerGone):
        await task
    await stopping


async def test_a_client_that_stops_reading_is_not_the_provider_s_fault() -> None:
    async with ActiveRequests(Timeouts(first_byte=0.05, idle=0.05)) as active_requests:
        task, active = await start(active_requests)
        active.advance("send")
        with pytest.raises(CallerGone, match="stopped reading"):
            await task


async def test_silence_beyond_the_limit_is_a_timeout() -> None:
    async with ActiveRequests(Timeouts(first_byte=0.05)) as active_requests:
        task, _ = await start(active_requests)
        with pytest.raises(UpstreamTimeout, match="sent nothing"):
            await task


async def test_pings_come_once_an_interval_and_never_while_sending() -> None:
    async with ActiveRequests(Timeouts(ping=0.05)) as active_requests:
        task, active = await start(active_requests)
        twice, times = asyncio.Event(), list[float]()

        async def ping() -> None:
            times.append(asyncio.get_running_loop().time())
            if len(times) == 2:
                twice.set()

        active.start_pings(ping)
        await twice.wait()
        assert times[1] - times[0] >= 0.05
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_bytes_before_the_first_event_keep_the_first_byte_limit() -> None:
    async with ActiveRequests(Timeouts(first_byte=0.1)) as active_requests:
        task, active = await start(active_requests)
        begun = active.received
        while not task.done():
            active.note_answer(is_begun=False)
            await asyncio.sleep(0.01)
        assert active.received == begun
        with pytest.raises(UpstreamTimeout, match="sent no whole event for"):
            await task


async def test_the_idle_limit_counts_from_the_first_event() -> None:
    async with ActiveRequests(Timeouts(first_byte=60, idle=0.05)) as active_requests:
        task, active = await start(active_requests)
        active.note_answer(is_begun=False)
        active.note_answer()
        with pytest.raises(UpstreamTimeout, match="has sent nothing for"):
            await task


async def test_pings_come_while_the_provider_sends_what_cannot_be_passed_on() -> None:
    async with ActiveRequests(Timeouts(ping=0.05)) as active_requests:
        task, active = await start(active_requests)
        pinged = asyncio.Event()

        async def ping() -> None:
            pinged.set()

        async def drip() -> None:
            while True:
                active.note_answer()
                await asyncio.sleep(0.005)

        active.start_pings(ping)
        dripping = asyncio.create_task(drip())
        await asyncio.wait_for(pinged.wait(), 5)
        for ended in (dripping, task):
            ended.cancel()
        await asyncio.gather(dripping, task, return_exceptions=True)


async def test_a_ping_that_has_not_left_never_leaves_after_the_pings_were_stopped() -> None:
    active = ActiveRequests(FOREVER).open()
    left = []

    async def ping() -> None:
        left.append(True)

    active.start_pings(ping)
    active.send_ping(0.0)
    active.stop_pings()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not left


async def test_a_client_has_the_whole_limit_for_each_piece() -> None:
    async with ActiveRequests(Timeouts(first_byte=60)) as active_requests:
        task, active = await start(active_requests)
        active.received -= 59
        sent = asyncio.Event()

        async def send(_message: Any) -> None:
            assert asyncio.get_running_loop().time() - active.sent < 1
            assert active.is_sending
            sent.set()

        await active.send_piece(send, b"piece")
        assert sent.is_set()
        assert not active.is_sending
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_request_is_sending_until_the_last_of_several_pieces_has_left() -> None:
    active = ActiveRequests(FOREVER).open()
    active.begin_waiting(60)
    gates = [asyncio.Event(), asyncio.Event()]
    waiting_gates = iter(gates)

    async def send(_message: Any) -> None:
        await next(waiting_gates).wait()

    pieces = [asyncio.create_task(active.send_piece(send, b"piece")) for _ in gates]
    await asyncio.sleep(0)
    gates[0].set()
    await pieces[0]
    assert active.is_sending
    gates[1].set()
    await pieces[1]
    assert active.state == "waiting"


async def test_a_closed_request_takes_no_further_step() -> None:
    active_requests = ActiveRequests(FOREVER)
    active = active_requests.open()
    active_requests.close(active)
    with pytest.raises(ImpossibleStep, match="'wait' cannot happen in 'done'"):
        active.begin_waiting(60)
