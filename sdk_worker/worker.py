"""Runs a turn of the bus in a `claude` of its own and publishes what it says as Anthropic frames.

A turn has one of three ends: a whole stream, an error raised before the first frame, or an `error`
frame after it. Whatever the end, and also when its caller leaves, the process of the turn ends too,
and nothing runs twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from sdk_worker.claude.driver import Conversation
from sdk_worker.claude.launch import Launch
from sdk_worker.claude.pool import Pool
from sdk_worker.claude.program import Program
from sdk_worker.custom_tools import ResultDesk
from sdk_worker.directories import choose_directory
from sdk_worker.frames import PING, Mode, Splice, turn_error_frame
from sdk_worker.reply import LeftReplies, Say, TurnReply
from sdk_worker.sessions import Sessions
from sdk_worker.states import ATTEMPT, AttemptEvent, AttemptState
from sdk_worker.tracing import turn_span
from sdk_worker.turn import Feed, read_turn
from shared.bus import Bus, Delivery, Slots
from shared.bus.channels import (
    CUSTOM_CALL_NOTE,
    CUSTOM_RESULTS,
    PERMISSION_NOTE,
    SDK_TURN,
    Channel,
    CustomCallNote,
    ManagedTurn,
    PermissionNote,
    Turn,
    TurnHead,
    TurnTail,
    decode_payload,
    encode_payload,
    labelled_turns,
    session_key,
)
from shared.bus.serving import serve_each
from shared.runtime.errors import (
    Busy,
    CCProxyError,
    CredentialsMissing,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from shared.runtime.log import get_log
from shared.runtime.tracing import Tracer
from shared.settings.labels import PLAIN_LABEL, label_sets

INTERRUPT_SECONDS = 0.3  # an interrupt is answered within 15 ms
RESULTS_AT_ONCE = 64  # results of custom tools that are handed to their calls at once
DECLINED_AT_ONCE = 8  # turns sent to this worker alone that it tells to go elsewhere


@dataclass(frozen=True, slots=True)
class TurnTimeouts:
    """The timeouts of a turn, in seconds.

    `idle`: the longest silence in a turn that waits for no person; `ping`: the longest silence
    towards the client; `asking`: the longest time that a permission request of the turn is open
    (None: a person has no time limit).
    """

    first_byte: float
    idle: float
    ping: float
    asking: float | None = None


Hold = contextlib.AbstractAsyncContextManager[tuple[Conversation, Feed, float]]


@dataclass(slots=True)
class TurnAttempt:
    """An attempt to run a turn. `program_started` is the start of the process in monotonic seconds;
    `head_sent` is True also for a second attempt.
    """

    splice: Splice
    named: str
    head_sent: bool = False
    program_started: float = math.inf
    state: AttemptState = ATTEMPT.beginning

    def advance(self, event: AttemptEvent) -> None:
        self.state = ATTEMPT.advance(self.state, event)

    def note_frames(self) -> None:
        """Note the first and the last frame of the answer, once the splice has made them."""
        if self.state == "placed" and self.splice.started:
            self.advance("first frame")
        if self.state == "begun" and self.splice.finished:
            self.advance("last frame")


def is_login_refused(error: CCProxyError) -> bool:
    """Return True if the provider, or Claude Code itself, refused the credential of a process."""
    return isinstance(error, CredentialsMissing) or (
        isinstance(error, UpstreamRefused) and error.status == 401
    )


class Worker:
    """Runs the turns of a worker process. `handle` runs a single delivery of SDK_TURN."""

    def __init__(
        self,
        pool: Pool[Conversation],
        sessions: Sessions,
        left: LeftReplies,
        results: ResultDesk,
        *,
        name: str,
        mode: Mode,
        pretty: bool,
        timeouts: TurnTimeouts,
        billed_to: str = "unknown",
        roots: Sequence[Path] = (),
        labels: Sequence[str] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._roots = roots
        self._labels = labels
        self._tracer = tracer
        self._pool = pool
        self._sessions = sessions
        self._left = left
        self._results = results
        self._timeouts = timeouts
        self._name = name
        self._mode = mode
        self._pretty = pretty
        self._lane = billed_to

    async def serve(
        self, bus: Bus, *, slots: int, stop: asyncio.Event, drain: asyncio.Event
    ) -> None:
        """Take turns until `stop`, or after `drain` until the taken turns are done.

        Turns come from the queue shared by all workers, from the queues for the labels and the name
        of this worker, and from the private channel of conversations whose process is kept here. A
        turn of the private channel that finds no free slot is refused at once, and its caller uses
        a queue. A call for the reply of a running turn needs no slot.
        """
        shared = Slots(slots)
        own = SDK_TURN.at(bus.address)
        done = asyncio.Event()

        async def handle_own(delivery: Delivery) -> None:
            turn = decode_payload(Turn, delivery.payload)
            reply = self._left.take(turn.repeat)
            if reply is None and (drain.is_set() or shared.free < 1):
                raise Busy
            # Taken without a wait: a reply that is running here already may exceed the number of
            # slots.
            shared.take()
            try:
                await self._answer(turn, reply, delivery)
            finally:
                shared.give_back()

        # The private channel is served until the shared queue has drained: while the last turns
        # run, a caller that was cut off may still come back.
        async with asyncio.TaskGroup() as serving:
            serving.create_task(
                serve_each(
                    bus, own, handle_own, slots=slots + DECLINED_AT_ONCE, stop=stop, drain=done
                )
            )
            serving.create_task(
                serve_each(
                    bus,
                    CUSTOM_RESULTS.at(bus.address),
                    self._results.take,
                    slots=RESULTS_AT_ONCE,
                    stop=stop,
                    drain=done,
                )
            )
            async with asyncio.TaskGroup() as queues:
                queues.create_task(
                    serve_each(bus, SDK_TURN, self.handle, slots=shared, stop=stop, drain=drain)
                )
                # One turn at a time: each queue counts the free slots before the others have
                # taken theirs.
                for chosen in chosen_queues(self._name, self._labels):
                    queues.create_task(
                        serve_each(
                            bus,
                            chosen,
                            self.handle,
                            slots=shared,
                            stop=stop,
                            drain=drain,
                            at_once=1,
                        )
                    )
            done.set()
        await self._left.end()

    async def handle(self, delivery: Delivery) -> None:
        """Run a delivery of SDK_TURN. Raises CCProxyError for a turn that failed before the first
        frame.
        """
        turn = decode_payload(Turn, delivery.payload)
        await self._answer(turn, self._left.take(turn.repeat), delivery)

    async def _answer(self, turn: Turn, reply: TurnReply | None, delivery: Delivery) -> None:
        """Stream a new turn, or attach to the running turn of a caller that was cut off."""
        if reply is None:
            reply = TurnReply(partial(self._begin, turn))
        else:
            get_log().info("turn_taken_up_again", request_id=turn.request_id)
        try:
            await reply.tell(delivery)
        except BaseException:
            # A caller that left ends its turn. A caller that died with its gateway may ask again.
            if not (delivery.caller_lost and self._left.keep(turn.repeat, reply)):
                await reply.end()
            raise

    async def _begin(self, turn: Turn, say: Say) -> None:
        with turn_span(self._tracer, turn) as told:
            await self._run(turn, say, told)

    async def _run(self, turn: Turn, say: Say, told: dict[str, Any]) -> None:
        """Run `turn`. If the login of a spare is refused before the first frame, run it in a fresh
        process once.
        """
        began = time.monotonic()
        key = session_key(turn)  # as the gateway sees it
        turn.working_directory = choose_directory(turn.working_directory, self._roots)
        feed = read_turn(turn.body, working_directory=turn.working_directory)
        if turn.managed is not None:
            feed.launch = managed_launch(feed.launch, turn.managed)
        named = turn.session_id or ""
        # The transcript would end in a call of the client's tool without a result, so the session
        # could not be resumed.
        if named and not feed.launch.own_tools:
            named = ""
            feed.ignored = [*feed.ignored, "session_id"]
        attempt = TurnAttempt(self._splice(turn, feed), named)
        if named:
            await self._try(
                attempt, self._sessions.hold(key, turn, feed, attempt.splice), turn, feed, say, told
            )
            return
        try:
            await self._try(attempt, self._once(feed), turn, feed, say, told)
        except CCProxyError as error:
            # Only a process older than this turn can hold an old login. A process started for the
            # turn had the present login, and a second one would be refused like it.
            if not is_login_refused(error) or attempt.program_started >= began:
                raise
            get_log().info("turn_begins_again", request_id=turn.request_id, reason=error.message)
            self._pool.drop_spares()
            # The head has left and is not sent again; the frames begin anew.
            again = replace(attempt, splice=self._splice(turn, feed), state=ATTEMPT.beginning)
            await self._try(again, self._once(feed), turn, feed, say, told)

    def _splice(self, turn: Turn, feed: Feed) -> Splice:
        # The gateway has checked the mode that the request names.
        mode = cast("Mode", turn.message_mode or self._mode)
        return Splice(mode, pretty=self._pretty, client_tools=bool(feed.binding.tools))

    async def _try(
        self,
        attempt: TurnAttempt,
        hold: Hold,
        turn: Turn,
        feed: Feed,
        say: Say,
        told: dict[str, Any],
    ) -> None:
        """Run `turn` in the process of `hold`. Raises CCProxyError for a failure before the first
        frame.
        """
        began = time.time()
        splice = attempt.splice
        spent = 0.0
        try:
            async with hold as (session, unheard, spent):
                attempt.advance("process")
                waited = max(0.0, 1000 * (time.time() - turn.sent_at))
                told["ccproxy.queue_ms"] = waited
                if not attempt.head_sent:
                    say(
                        encode_payload(
                            TurnHead(self._name, waited, feed.ignored, attempt.named, self._lane)
                        )
                    )
                attempt.head_sent = True
                attempt.program_started = session.program.started_at
                with session.on_behalf(turn, lambda note: say(note_frame(note))):
                    await self._converse(session, unheard, attempt, say)
        except CCProxyError as error:
            if attempt.state == "whole":
                # The client has the whole answer. Only its session could not be remembered.
                get_log().warning(
                    "session_not_remembered", request_id=turn.request_id, reason=error.message
                )
                self._say_end(attempt, spent, began, say, told)
                return
            # The limits are news also after a failure: a used-up window is why a provider refuses.
            if splice.limits:
                say(encode_payload(TurnTail(limits=splice.limits)))
            # Before the first frame the error can have its own status; afterwards it must be an
            # event.
            attempt.advance("error")
            if attempt.state == "refused":
                raise
            get_log().warning("turn_broke_off", request_id=turn.request_id, reason=error.message)
            told["error"] = error.kind
            say(turn_error_frame(error))
        else:
            self._say_end(attempt, spent, began, say, told)

    def _say_end(
        self, attempt: TurnAttempt, spent: float, began: float, say: Say, told: dict[str, Any]
    ) -> None:
        attempt.advance("tail")
        told["ccproxy.turns"] = attempt.splice.result.get("num_turns")
        say(encode_payload(turn_tail(attempt.splice, spent, began)))

    @contextlib.asynccontextmanager
    async def _once(self, feed: Feed) -> AsyncIterator[tuple[Conversation, Feed, float]]:
        """Yield a process for this turn alone."""
        session = await self._pool.take(feed.launch, feed.binding)
        try:
            yield session, feed, 0.0
        finally:
            self._pool.retire(session)

    async def _converse(
        self, session: Conversation, feed: Feed, attempt: TurnAttempt, say: Say
    ) -> None:
        """Run a turn; interrupt a program left early, so the program withdraws all permission
        requests.
        """
        try:
            await self._exchange(session, feed, attempt, say)
        finally:
            if not attempt.splice.result and session.alive:
                with contextlib.suppress(UpstreamError, TimeoutError):
                    async with asyncio.timeout(INTERRUPT_SECONDS):
                        await session.program.control("interrupt")

    async def _exchange(
        self, session: Conversation, feed: Feed, attempt: TurnAttempt, say: Say
    ) -> None:
        try:
            # One limit for all that comes before the first frame, the history included. Afterwards
            # every silence has a limit of its own.
            async with asyncio.timeout(self._timeouts.first_byte):
                await self._recall(session, feed, attempt)
                session.say(feed.prompt)
                while attempt.state == "placed":
                    await self._publish_next(session.program, attempt, say)
        except TimeoutError:
            raise UpstreamTimeout("Claude Code did not begin its answer in time.") from None
        while attempt.state == "begun":
            await self._wait_for_line(session, say)
            await self._publish_next(session.program, attempt, say)

    async def _recall(self, session: Conversation, feed: Feed, attempt: TurnAttempt) -> None:
        """Send the history. A user's line gets its place only once the program has answered the
        line before.
        """
        for line in feed.history:
            session.say(line)
            if line["type"] != "user":
                continue
            while (answer := await session.program.read())["type"] != "result":
                attempt.splice.feed(answer)
                attempt.note_frames()

    async def _wait_for_line(self, session: Conversation, say: Say) -> None:
        """Keep the client's connection alive through a silence. Raises UpstreamTimeout for too long
        a silence.
        """
        timeouts = self._timeouts
        step = min(timeouts.ping, timeouts.idle)
        silent = asking = 0.0  # seconds in a row
        while not await session.program.has_line(within=step):
            if session.asks_person:
                silent = 0.0
                asking = asking + step
                if timeouts.asking is not None and asking >= timeouts.asking:
                    raise UpstreamTimeout(
                        "A permission request of this turn got no answer in time."
                    )
            else:
                silent = silent + step
                asking = 0.0
                if silent >= timeouts.idle:
                    raise UpstreamTimeout(
                        f"Claude Code was silent for {timeouts.idle:g} seconds in the middle of "
                        "its answer (SDK__IDLE_TIMEOUT_SECONDS)."
                    )
            say(PING)

    async def _publish_next(self, program: Program, attempt: TurnAttempt, say: Say) -> None:
        """Wait for a line; frames of lines that arrived together are sent together."""
        splice = attempt.splice
        frames = splice.feed(await program.read())
        try:
            while not splice.finished and (line := program.read_now()) is not None:
                frames += splice.feed(line)
        finally:
            # Frames made before a line that fails belong to the client too.
            if frames:
                say(frames)
            attempt.note_frames()


def chosen_queues(name: str, labels: Sequence[str]) -> list[Channel]:
    """Return the queues of the turns that chose the worker `name`, by its name or by any of its
    labels together.
    """
    names = [frozenset({name})] if PLAIN_LABEL.fullmatch(name) else []
    return [labelled_turns(chosen) for chosen in {*label_sets(labels), *names}]


def turn_tail(splice: Splice, spent: float, began: float) -> TurnTail:
    """Return the tail of a turn.

    The result is empty for a turn that ended before the program's summary.
    """
    turns = splice.result.get("num_turns")
    cost = turn_cost(splice.result, spent)
    return TurnTail(cost, turns, 1000 * (time.time() - began), splice.limits)


def turn_cost(result: dict[str, Any], spent: float) -> float | None:
    """Return the dollars of a turn by the program's summary at its end; None when it names no cost.
    `spent` is the total in the summary of the conversation's turn before.

    A total goes on after a resumption only where the last program ended in order on the same disk,
    so no difference of totals is sure. Newer programs also tell what they counted since their
    summary before, which is. Without that, a total below `spent` began at nothing elsewhere.
    """
    total = result.get("total_cost_usd")
    if not total:
        return None
    if usage := result.get("model_usage_since_last_result"):
        return sum(float(of_model.get("costUSD", 0)) for of_model in usage.values())
    return float(total - spent if total >= spent else total)


def managed_launch(launch: Launch, managed: ManagedTurn) -> Launch:
    """Return `launch` with the tools and the effort of a managed session."""
    custom = encode_payload(managed.custom_tools) if managed.custom_tools else b""
    return replace(launch, tools=tuple(managed.tools), effort=managed.effort, custom_tools=custom)


def note_frame(note: PermissionNote | CustomCallNote) -> bytes:
    """Return `note` as a frame. No provider's event has the name, so no client takes the frame for
    an event.
    """
    name = PERMISSION_NOTE if isinstance(note, PermissionNote) else CUSTOM_CALL_NOTE
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_payload(note))
