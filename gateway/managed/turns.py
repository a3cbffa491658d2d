"""One turn of a session: a client's message in, events out, through a worker of `/sdk`.

A turn is admitted, recorded and measured like every other request to `/sdk`. What clients send
meanwhile (an interrupt, a confirmation) is taken from the queue here; further messages wait there.

Invariant: the message leaves the queue in the same step that notes the turn, and the turn is noted
until its end is in the log. So a turn whose process died is known, and begins only once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

from gateway.managed.history import messages_of, user_message
from gateway.managed.journal import SessionJournals, SessionName
from gateway.managed.listing import time_now
from gateway.managed.narration import RETRYING, TurnNarrator, error_event, new_event
from gateway.managed.sessions import ManagedSession, ManagedSessions
from gateway.managed.turn_events import (
    end_of_span,
    failure_events,
    idle_event,
    late_result_event,
    refusal_of,
)
from gateway.managed.turn_request import open_turn_record, outgoing, policies_of
from gateway.providers import Opened, Outgoing
from gateway.providers.sdk import Sdk
from gateway.proxy.active_requests import ActiveRequest, ActiveRequests
from gateway.proxy.exchange import note_failure
from gateway.proxy.messages_tap import MessagesTap
from gateway.server.guard import Caller
from shared.bus.channels import AccessRecord, CustomResult
from shared.formats.ir import Json
from shared.formats.sse import Parser
from shared.permissions.asking import RETRY_SECONDS, WITHOUT_SERVICE_SECONDS
from shared.permissions.deciders import BY_LOCAL
from shared.runtime.errors import (
    BusUnavailable,
    CCProxyError,
    Conflict,
    NotFound,
    NoWorker,
    Stopping,
    UpstreamError,
    WorkerLost,
)

LOOK_SECONDS = 0.1  # between two looks at the queue while a turn runs
MOST_UNREAD = 64  # pieces of the answer that are read ahead of the log
LOOK = b"look"  # in a turn's inbox: the queue may hold something
# A piece of a turn's inbox: a frame, or LOOK; an event to log; the error of the turn; None for its
# end.
Piece = bytes | dict[str, Any] | CCProxyError | None
# The counts of a record that a session sums up.
SUMMED = (
    "tokens_input",
    "tokens_output",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
)


class SessionLeft(Exception):
    """Another process works on the session by now, or the session is gone."""


class TurnAccounts(Protocol):
    """The admission and the accounts of turns, as for every other request."""

    def caller_of(self, name: str) -> Caller:
        """Return the caller with the token `name`, with the token's present rights. Raises
        NotAllowed.
        """

    async def admit(self, caller: Caller, record: AccessRecord) -> None:
        """Let the turn of `record` begin. Raises SpendLimitReached, Busy."""

    def close(self, caller: Caller | None, record: AccessRecord) -> None:
        """Count, measure and keep the record of an ended turn."""


class Answers(Protocol):
    """The permission service, as needed for confirmations."""

    async def question(
        self, verb: str, by: str, parameters: dict[str, Any], *, may_ask: bool = False
    ) -> bytes: ...


@dataclass(slots=True)
class RunningTurn:
    """A running turn of `session`. `span` is the id of the event at the turn's start; `caller` is
    known after the turn's admission. `inbox` has the news for the task that runs the turn;
    `passing_on` are confirmations on their way to the permission service.
    """

    session: ManagedSession
    holder: str
    record: AccessRecord
    narrator: TurnNarrator
    span: str
    began: float = field(default_factory=time.time)
    caller: Caller | None = None
    interrupted: bool = False
    inbox: asyncio.Queue[Piece] = field(default_factory=lambda: asyncio.Queue(MOST_UNREAD))
    passing_on: set[asyncio.Task[None]] = field(default_factory=set)


class ManagedTurns:
    """Runs the turns of sessions, every turn in its caller's task."""

    def __init__(
        self,
        sdk: Sdk,
        sessions: ManagedSessions,
        journals: SessionJournals,
        active_requests: ActiveRequests,
        accounts: TurnAccounts,
        answers: Answers,
    ) -> None:
        self._sdk = sdk
        self._sessions = sessions
        self._journals = journals
        self._active_requests = active_requests
        self._accounts = accounts
        self._answers = answers
        self._news: dict[SessionName, asyncio.Event] = {}

    def wake(self, name: SessionName) -> None:
        """Have a running turn of this process look at the queue now."""
        if news := self._news.get(name):
            news.set()

    async def run(self, name: SessionName, holder: str, message: Json, text: bytes) -> None:
        """Run the turn of the message waiting in the queue as `text`.

        Raises NotFound for a session that is gone, SessionLeft, BusUnavailable; the errors of the
        turn are events. Raises Stopping, after its event, when this process is stopping.
        """
        session = await self._sessions.find(name)
        history = await messages_of(self._journals, name)
        turn = RunningTurn(
            session,
            holder,
            open_turn_record(session),
            TurnNarrator(policies_of(session.about["agent"])),
            "",
        )
        begun = [
            message | {"processed_at": time_now()},
            new_event("session.status_running"),
            new_event("span.model_request_start"),
        ]
        turn.span = begun[-1]["id"]
        noted = {"span": turn.span, "began": turn.began, "request_id": turn.record.request_id}
        await self._commit(
            turn, begun, taken=[text], state={"status": "running", "turn": noted, "waiting": {}}
        )
        failure: CCProxyError | None = None
        self._news[name] = asyncio.Event()
        active = self._active_requests.open()
        try:
            with active:
                active.begin_waiting(self._active_requests.timeouts.first_byte)
                await self._converse(turn, active, [*history, user_message(message)])
        except (SessionLeft, BusUnavailable):
            # Whoever has the lease next reports the end.
            note_end(turn.record, WorkerLost())
            raise
        except CCProxyError as error:
            failure = error
            note_end(turn.record, error)
        else:
            note_end(turn.record, None)
        finally:
            self._active_requests.close(active)
            self._news.pop(name, None)
            self._accounts.close(turn.caller, turn.record)
        await self._end(turn, failure)
        if isinstance(failure, Stopping):
            raise failure

    async def _converse(
        self, turn: RunningTurn, active: ActiveRequest, messages: list[Json]
    ) -> None:
        """Send the turn to a worker, and log the worker's frames until the turn's end, or an
        interrupt. Raises the error of the turn.
        """
        record = turn.record
        turn.caller = self._accounts.caller_of(turn.session.name.owner)
        await self._accounts.admit(turn.caller, record)
        request = outgoing(turn.session, record, messages)
        request.allowed_models = turn.caller.models
        request.active = active
        model = await self._sdk.catalogue.resolve(record.asked_model)
        request.permit(model)
        request.rewrite(request.parsed() | {"model": model})
        # Three sources of news, each with a task of its own; this task alone changes the session.
        reading = asyncio.create_task(self._read(request, turn.inbox))
        looking = asyncio.create_task(self._look(turn))
        try:
            await self._log_all(turn)
        finally:
            beside = [reading, looking, *turn.passing_on]
            for task in beside:
                task.cancel()
            # The end of the reading closes the call, which ends the turn in its worker.
            await asyncio.gather(*beside, return_exceptions=True)

    async def _read(self, request: Outgoing, inbox: asyncio.Queue[Piece]) -> None:
        """Put the frames of the turn into `inbox`, then the end: None, or an error."""
        try:
            opened = await self._open(request)
            try:
                async for chunk in opened.chunks:
                    await inbox.put(chunk)
            finally:
                await opened.aclose()
        except CCProxyError as error:
            await inbox.put(error)
        else:
            await inbox.put(None)

    async def _open(self, request: Outgoing) -> Opened:
        """Place the turn at a worker, again while the workers are replaced: a turn that no worker
        has taken did not begin. Raises the turn's error.
        """
        late = time.monotonic() + WITHOUT_SERVICE_SECONDS
        while True:
            try:
                return await self._sdk.open(request)
            except NoWorker:
                if time.monotonic() > late:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, turn: RunningTurn) -> None:
        """Wake the turn whenever the queue may hold news for it."""
        news = self._news[turn.session.name]
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await news.wait()
            news.clear()
            await turn.inbox.put(LOOK)

    async def _log_all(self, turn: RunningTurn) -> None:
        """Log the events of the turn's frames on arrival, in batches. Raises the turn's error."""
        inbox = turn.inbox
        tap, parser = MessagesTap(turn.record), Parser()
        while not turn.interrupted:
            news = [await inbox.get()]
            while not inbox.empty():
                news.append(inbox.get_nowait())
            # The queue first: a confirmation stands before what follows from it.
            await self._take_controls(turn)
            for each in news:
                if isinstance(each, bytes) and each is not LOOK:
                    for frame in parser.feed(tap.feed(each)):
                        turn.narrator.feed(frame)
            events = [*turn.narrator.take_events(), *(each for each in news if is_event(each))]
            if events:
                await self._commit(turn, events, state=status_of(turn.narrator))
            for each in news:
                if isinstance(each, CCProxyError):
                    raise each
            if None in news:
                if turn.narrator.error is not None:
                    raise refusal_of(turn.narrator.error)
                if not tap.finished:
                    raise UpstreamError("The turn ended before its last event.")
                return

    async def _take_controls(self, turn: RunningTurn) -> None:
        """Take interrupts, confirmations and results from the queue; messages wait there."""
        state = await self._journals.look(turn.session.name)
        for event, text in state.queue:
            if event["type"] == "user.message":
                continue
            if event["type"] == "user.custom_tool_result":
                await self._answer(turn, event, text)
                continue
            await self._commit(turn, [event | {"processed_at": time_now()}], taken=[text])
            if event["type"] == "user.interrupt":
                turn.interrupted = True
                return
            await self._confirm(turn, event)

    async def _answer(self, turn: RunningTurn, event: Json, text: bytes) -> None:
        """Hand a client's result to the call that waits for it in the worker. Raises the error of a
        worker that is gone: its turn is, too.
        """
        call = turn.narrator.answer(event["custom_tool_use_id"])
        # One step for the result and the end of the wait: a second result finds nothing to answer.
        logged = [event | {"processed_at": time_now()}, *turn.narrator.take_events()]
        if call is None:
            logged.append(late_result_event(event))
        await self._commit(turn, logged, taken=[text], state=status_of(turn.narrator))
        if call is None:
            return
        content = event.get("content") or []
        is_error = bool(event.get("is_error"))
        result = CustomResult(turn.record.request_id, call["tool_use_id"], content, is_error)
        try:
            await self._sdk.give_result(call["worker"], result)
        except NotFound:
            # The worker gave up the wait a moment before.
            await self._commit(turn, [late_result_event(event)])

    async def _confirm(self, turn: RunningTurn, event: Json) -> None:
        """Hand a confirmation to the permission service; the first answer counts."""
        waiting = turn.narrator.waiting.get(event["tool_use_id"])
        if waiting is None:
            return  # a person was quicker
        answer = {
            "request_id": waiting["request_id"],
            "allowed": event["result"] == "allow",
            "message": event.get("deny_message") or "",
        }
        turn.narrator.confirm(event["tool_use_id"])
        # In a task of its own: an absent permission service must not hold up the turn.
        passing = asyncio.create_task(self._pass_on(turn, answer))
        turn.passing_on.add(passing)
        passing.add_done_callback(turn.passing_on.discard)

    async def _pass_on(self, turn: RunningTurn, answer: Json) -> None:
        """Tell the permission service a confirmation, again while the service is replaced: it
        counts the first answer alone, and knows its requests for good.
        """
        by = turn.session.name.owner or BY_LOCAL
        late = time.monotonic() + WITHOUT_SERVICE_SECONDS
        while True:
            try:
                await self._answers.question("decide", by, answer)
            except (Conflict, NotFound):
                return  # a person was quicker, by a moment
            except (NoWorker, BusUnavailable, WorkerLost, Stopping) as error:
                if time.monotonic() > late:
                    text = f"A confirmation could not be passed on; send it again: {error.message}"
                    await turn.inbox.put(error_event("unknown_error", text, RETRYING))
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _end(self, turn: RunningTurn, failure: CCProxyError | None) -> None:
        """Log the end of the turn, and add the turn's sums to the session's sums."""
        narrator, record = turn.narrator, turn.record
        narrator.end()
        events = narrator.take_events()
        events.append(end_of_span(turn.span, record, is_error=failure is not None))
        if failure is not None:
            events += failure_events(failure)
        elif record.stop_reason == "refusal" and not turn.interrupted:
            details = {"type": "refusal", "category": None, "explanation": None}
            events.append(idle_event({"type": "refusal"}, details))
        else:
            events.append(idle_event({"type": "end_turn"}))
        sums = {name: getattr(record, name) for name in SUMMED}
        sums["active_ms"] = int(record.duration_ms)
        left = {"status": "idle", "turn": "", "waiting": {}}
        await self._commit(turn, events, state=left, added=sums)

    async def _commit(self, turn: RunningTurn, events: Sequence[Json], **step: Any) -> None:
        """Do a step of the turn. Raises SessionLeft."""
        done = await self._journals.commit(turn.session.name, turn.holder, logged=events, **step)
        if not done:
            raise SessionLeft


def is_event(piece: Piece) -> TypeGuard[Json]:
    """Return True for an event to log."""
    return isinstance(piece, dict)


def status_of(narrator: TurnNarrator) -> Json:
    """Return the state of a session in a turn, and what it waits for."""
    return {"status": "idle" if narrator.waiting else "running", "waiting": narrator.waiting}


def note_end(record: AccessRecord, failure: CCProxyError | None) -> None:
    """Complete the record of an ended turn."""
    record.duration_ms = (time.time() - record.timestamp) * 1000
    record.status_code = 200 if failure is None else failure.status
    if failure is not None:
        note_failure(record, failure)
