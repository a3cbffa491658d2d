"""Runs a turn of the bus in a `claude` of its own and publishes what it says as Anthropic frames.

A turn has one of three ends: a whole stream, an error raised before the first frame, or an `error` frame after it.
Whatever the end, and also when its caller leaves, the process of the turn ends too, and nothing runs twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk_worker.asking import on_nobodys_behalf
from sdk_worker.directories import choose_directory
from sdk_worker.door import Conversation
from sdk_worker.frames import PING, Mode, Splice, error_frame
from sdk_worker.pool import Pool
from sdk_worker.program import Program
from sdk_worker.sessions import Sessions
from sdk_worker.tracing import turn_span
from sdk_worker.turn import Feed, read_turn
from shared.bus import Bus, Delivery, Slots
from shared.channels import SDK_TURN, Turn, TurnHead, TurnTail, decode, encode, session_key
from shared.errors import Busy, CallerGone, CCProxyError, UpstreamError, UpstreamTimeout
from shared.log import get_log
from shared.serving import serve_each
from shared.tracing import Tracer

OnBehalf = Callable[[Conversation, Turn], contextlib.AbstractAsyncContextManager[None]]

INTERRUPT_SECONDS = 0.3  # an interrupt is answered within 15 ms
DECLINED_AT_ONCE = 8  # turns sent to this worker alone that it tells to go elsewhere


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `idle`: the longest silence in a turn (None: a person may think as long as they like); `ping`: the
    longest the client sees."""

    first_byte: float
    idle: float | None
    ping: float


class Worker:
    """`handle` runs one delivery of SDK_TURN."""

    def __init__(
        self,
        pool: Pool[Conversation],
        sessions: Sessions,
        *,
        name: str,
        mode: Mode,
        pretty: bool,
        patience: Patience,
        on_behalf: OnBehalf = on_nobodys_behalf,
        lane: str = "unknown",
        roots: Sequence[Path] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._roots, self._tracer = roots, tracer
        self._pool, self._sessions, self._patience, self._on_behalf = pool, sessions, patience, on_behalf
        self._name, self._mode, self._pretty, self._lane = name, mode, pretty, lane

    async def serve(self, bus: Bus, *, slots: int, stop: asyncio.Event, drain: asyncio.Event) -> None:
        """Take turns until `stop`, or after `drain` until those taken are done: from the line all workers share, and
        those sent here because their conversation's process is here, which are told to go to the others if there is no
        slot for them."""
        shared, own, done = Slots(slots), SDK_TURN.at(bus.address), asyncio.Event()

        async def handle_own(delivery: Delivery) -> None:
            if drain.is_set() or shared.free < 1:
                raise Busy
            shared.take()
            try:
                await self.handle(delivery)
            finally:
                shared.give_back()

        async with asyncio.TaskGroup() as serving:
            serving.create_task(serve_each(bus, own, handle_own, slots=slots + DECLINED_AT_ONCE, stop=stop, drain=done))
            await serve_each(bus, SDK_TURN, self.handle, slots=shared, stop=stop, drain=drain)
            done.set()

    async def handle(self, delivery: Delivery) -> None:
        """Raises CCProxyError for a turn that failed before its first frame."""
        turn = decode(Turn, delivery.payload)
        with turn_span(self._tracer, turn) as told:
            await self._handle(turn, delivery, told)

    async def _handle(self, turn: Turn, delivery: Delivery, told: dict[str, Any]) -> None:
        began = time.time()
        key = session_key(turn)  # as the gateway sees it
        turn.working_directory = choose_directory(turn.working_directory, self._roots)
        feed = read_turn(turn.body, working_directory=turn.working_directory)
        splice = Splice(self._mode, pretty=self._pretty, client_tools=bool(feed.binding.tools))
        named = turn.session_id or ""
        if named and not feed.launch.own_tools:  # it would end in a call that nobody answers in its transcript
            named, feed.ignored = "", [*feed.ignored, "session_id"]
        hold = self._sessions.hold(key, turn, feed, splice) if named else self._once(feed)
        try:
            async with hold as (session, unheard, spent), self._on_behalf(session, turn):
                waited = max(0.0, 1000 * (time.time() - turn.sent_at))
                told["ccproxy.queue_ms"] = waited
                await delivery.send(encode(TurnHead(self._name, waited, feed.ignored, named, self._lane)))
                await self._run(session, unheard, splice, delivery)
        except CallerGone:
            raise
        except CCProxyError as error:
            if splice.limits:
                await delivery.send(encode(TurnTail(limits=splice.limits)))
            if not splice.started:
                raise
            get_log().warning("turn_broke_off", request_id=turn.request_id, reason=error.message)
            told["error"] = error.kind
            await delivery.send(error_frame(error))
        else:
            told["ccproxy.turns"] = splice.result.get("num_turns")
            await delivery.send(encode(tail(splice, spent, began)))

    @contextlib.asynccontextmanager
    async def _once(self, feed: Feed) -> AsyncIterator[tuple[Conversation, Feed, float]]:
        """A process for this turn alone."""
        session = await self._pool.take(feed.launch, feed.binding)
        try:
            yield session, feed, 0.0
        finally:
            self._pool.retire(session)

    async def _run(self, session: Conversation, feed: Feed, splice: Splice, delivery: Delivery) -> None:
        """An interrupt lets a program that is left early call back what it asked others."""
        try:
            await self._converse(session, feed, splice, delivery)
        finally:
            if not splice.result and session.alive:
                with contextlib.suppress(UpstreamError, TimeoutError):
                    async with asyncio.timeout(INTERRUPT_SECONDS):
                        await session.program.control("interrupt")

    async def _converse(self, session: Conversation, feed: Feed, splice: Splice, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(self._patience.first_byte):
                await self._recall(session, feed, splice)
                session.say(feed.prompt)
                while not splice.started:
                    await self._publish_next(session.program, splice, delivery)
        except TimeoutError:
            raise UpstreamTimeout("Claude Code did not begin its answer in time.") from None
        while not splice.finished:
            await self._wait_for_line(session.program, delivery)
            await self._publish_next(session.program, splice, delivery)

    async def _recall(self, session: Conversation, feed: Feed, splice: Splice) -> None:
        """Feed what was said before. A user's line gets its place only when the program has answered it."""
        for line in feed.history:
            session.say(line)
            if line["type"] != "user":
                continue
            while (answer := await session.program.read())["type"] != "result":
                splice.feed(answer)

    async def _wait_for_line(self, program: Program, delivery: Delivery) -> None:
        """Keep the client's connection alive through a silence. Raises UpstreamTimeout when it is too long."""
        silent = 0.0
        while not await program.has_line(within=self._patience.ping):
            silent += self._patience.ping
            if self._patience.idle is not None and silent >= self._patience.idle:
                raise UpstreamTimeout("Claude Code fell silent in the middle of its answer.")
            await delivery.send(PING)

    async def _publish_next(self, program: Program, splice: Splice, delivery: Delivery) -> None:
        """Wait for a line; frames of lines that arrived together leave together."""
        frames = splice.feed(await program.read())
        try:
            while not splice.finished and (line := program.read_now()) is not None:
                frames += splice.feed(line)
        finally:
            if frames:
                await delivery.send(frames)


def tail(splice: Splice, spent: float, began: float) -> TurnTail:
    """The result is empty for a turn that ended before the program summed it up; it counts cost over its whole life."""
    cost, turns = splice.result.get("total_cost_usd"), splice.result.get("num_turns")
    return TurnTail(cost - spent if cost else None, turns, 1000 * (time.time() - began), splice.limits)
