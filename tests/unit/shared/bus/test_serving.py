"""Whatever a handler does, its caller hears the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from shared.bus.channels import Channel
from shared.bus.serving import LAST_WORDS_SECONDS, Handler, serve_each
from shared.runtime.errors import CallerGone, CCProxyError, NotFound, Stopping

ONCE = Channel("once", "on_accept")
UNTIL_DONE = Channel("until done", "when_done")


class Delivered:
    """A delivery from nowhere: keeps what its caller would hear."""

    def __init__(self, *, taken_elsewhere: bool = False) -> None:
        self.request_id = "r1"
        self.payload = b""
        self.caller_gone = asyncio.Event()
        self.heard: asyncio.Future[CCProxyError | None] = asyncio.get_running_loop().create_future()
        self.accepted = False
        self._taken_elsewhere = taken_elsewhere

    async def accept(self) -> None:
        if self._taken_elsewhere:
            raise CallerGone
        self.accepted = True

    async def finish(self) -> None:
        self.heard.set_result(None)

    async def fail(self, error: CCProxyError) -> None:
        self.heard.set_result(error)


class DeliveredWithoutBus(Delivered):
    """A delivery whose bus went away: nothing can be told any more."""

    async def fail(self, error: CCProxyError) -> None:
        await asyncio.Event().wait()


class OneBus:
    """Serves what it was given, then stays quiet."""

    def __init__(self, *deliveries: Delivered) -> None:
        self._deliveries = deliveries
        self.closed = False

    async def serve(
        self, channel: Channel, *, slots: int, at_once: int | None = None
    ) -> AsyncGenerator[Delivered, None]:
        try:
            for delivery in self._deliveries:
                yield delivery
            await asyncio.Event().wait()
        finally:
            self.closed = True


class Serving:
    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, bus: OneBus, handle: Handler, channel: Channel = ONCE) -> None:
        self.tasks.append(
            asyncio.create_task(serve_each(bus, channel, handle, slots=2, stop=self.stop))
        )  # type: ignore[arg-type]

    async def end(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    yield serving
    await serving.end()


async def test_a_handler_that_returns_finishes_its_delivery(serving: Serving) -> None:
    delivery = Delivered()

    async def handle(given: object) -> None:
        assert given is delivery
        assert delivery.accepted

    serving.start(OneBus(delivery), handle)
    assert await delivery.heard is None


async def test_a_typed_error_reaches_the_caller_as_it_is(serving: Serving) -> None:
    delivery = Delivered()

    async def handle(_: object) -> None:
        raise NotFound("nothing here")

    serving.start(OneBus(delivery), handle)
    error = await delivery.heard
    assert isinstance(error, NotFound)
    assert error.message == "nothing here"


async def test_a_bug_is_an_internal_error_for_its_caller_and_for_nobody_else(
    serving: Serving,
) -> None:
    broken, fine = Delivered(), Delivered()

    async def handle(delivery: object) -> None:
        if delivery is broken:
            raise KeyError("secret detail")

    serving.start(OneBus(broken, fine), handle)
    error = await broken.heard
    assert type(error) is CCProxyError
    assert "secret" not in error.message
    assert await fine.heard is None


async def test_a_slow_handler_keeps_nobody_waiting(serving: Serving) -> None:
    slow, quick = Delivered(), Delivered()
    release = asyncio.Event()

    async def handle(delivery: object) -> None:
        if delivery is slow:
            await release.wait()

    serving.start(OneBus(slow, quick), handle)
    assert await quick.heard is None
    release.set()
    assert await slow.heard is None


async def test_a_handler_is_cancelled_when_its_caller_leaves(serving: Serving) -> None:
    delivery = Delivered()
    working, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(_: object) -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    serving.start(OneBus(delivery), handle)
    await working.wait()
    delivery.caller_gone.set()
    await cancelled.wait()
    await delivery.heard


async def test_what_another_server_took_is_not_handled(serving: Serving) -> None:
    delivery = Delivered(taken_elsewhere=True)
    handled = []

    async def handle(given: object) -> None:
        handled.append(given)

    serving.start(OneBus(delivery), handle)
    await delivery.heard
    assert handled == []


@pytest.mark.parametrize("channel", [ONCE, UNTIL_DONE])
async def test_stopping_tells_callers_unless_another_server_will_go_on(
    channel: Channel, serving: Serving
) -> None:
    delivery, working = Delivered(), asyncio.Event()

    async def handle(_: object) -> None:
        working.set()
        await asyncio.Event().wait()

    bus = OneBus(delivery)
    serving.start(bus, handle, channel)
    await working.wait()
    await serving.end()
    assert bus.closed
    if channel is ONCE:
        assert isinstance(await delivery.heard, Stopping)
    else:
        assert not delivery.heard.done()


async def test_a_stop_does_not_wait_for_a_bus_that_is_away() -> None:
    serving, begun = Serving(), asyncio.Event()

    async def handle(given: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    serving.start(OneBus(DeliveredWithoutBus()), handle)
    await begun.wait()
    async with asyncio.timeout(LAST_WORDS_SECONDS + 5):
        await serving.end()
