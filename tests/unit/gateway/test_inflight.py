"""Interrupting a request ends it with the reason given, once, and never a stranger's cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.inflight import Flights, InFlight, Patience
from shared.errors import CallerGone, Stopping, UpstreamTimeout

FOREVER = Patience()


async def forever() -> Any:
    await asyncio.Event().wait()


async def waiting(flights: Flights, ready: asyncio.Event, flight_box: list[InFlight]) -> None:
    flight = flights.open()
    flight.begin_waiting(flights.patience.first_byte, forever)
    try:
        with flight:
            flight_box.append(flight)
            ready.set()
            await asyncio.Event().wait()
    finally:
        flights.close(flight)


async def start(flights: Flights) -> tuple[asyncio.Task[None], InFlight]:
    ready, box = asyncio.Event(), list[InFlight]()
    task = asyncio.create_task(waiting(flights, ready, box))
    await ready.wait()
    return task, box[0]


async def test_the_first_reason_is_the_one_that_is_raised() -> None:
    task, flight = await start(Flights(FOREVER))
    flight.interrupt(CallerGone())
    flight.interrupt(Stopping())
    with pytest.raises(CallerGone):
        await task
    assert not task.cancelling()


async def test_a_cancellation_from_outside_stays_one() -> None:
    task, _ = await start(Flights(FOREVER))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reason_given_between_two_waits_is_met_at_the_next() -> None:
    flight = Flights(FOREVER).open()
    flight.interrupt(Stopping())
    with pytest.raises(Stopping), flight:
        pytest.fail("must not be entered")


async def test_after_stop_no_request_begins() -> None:
    flights = Flights(FOREVER)
    await flights.stop(0)
    with pytest.raises(Stopping), flights.open():
        pytest.fail("must not be entered")


async def test_stop_gives_open_requests_their_grace() -> None:
    flights = Flights(FOREVER)
    task, flight = await start(flights)
    stopping = asyncio.create_task(flights.stop(30))
    await asyncio.sleep(0)
    flight.interrupt(CallerGone())  # it ends by itself within its grace
    with pytest.raises(CallerGone):
        await task
    await stopping


async def test_a_client_that_stops_reading_is_not_the_provider_s_fault() -> None:
    async with Flights(Patience(first_byte=0.05, idle=0.05)) as flights:
        task, flight = await start(flights)
        flight.sending = True
        with pytest.raises(CallerGone, match="stopped reading"):
            await task


async def test_silence_beyond_the_limit_is_a_timeout() -> None:
    async with Flights(Patience(first_byte=0.05)) as flights:
        task, _ = await start(flights)
        with pytest.raises(UpstreamTimeout, match="sent nothing"):
            await task


async def test_pings_come_once_an_interval_and_never_while_sending() -> None:
    async with Flights(Patience(ping=0.05)) as flights:
        task, flight = await start(flights)
        twice, times = asyncio.Event(), list[float]()

        async def ping() -> None:
            times.append(asyncio.get_running_loop().time())
            if len(times) == 2:
                twice.set()

        flight.ping = ping
        await twice.wait()
        assert times[1] - times[0] >= 0.05
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
