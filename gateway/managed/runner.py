"""The work on sessions: one process at a time takes what clients have sent, and runs it turn by
turn.

Any gateway may do the work. Whoever has put something into a queue, or finds a session with work
that nobody holds, takes its lease. A turn that its process did not see end is reported as
interrupted by the next one, and never run again; what waits behind it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Self

from gateway.managed.journal import (
    LEASE_SECONDS,
    SessionJournals,
    SessionName,
)
from gateway.managed.listing import time_now
from gateway.managed.turn_events import end_of_span, failure_events, late_result_event
from gateway.managed.turns import ManagedTurns, SessionLeft
from shared.bus import Bus
from shared.bus.channels import AccessRecord
from shared.runtime.background import end_task
from shared.runtime.errors import BusUnavailable, CCProxyError, NotFound, Stopping
from shared.runtime.log import get_log

RENEW_SECONDS = 2.5
LOOK_SECONDS = 2.0  # between two looks for sessions with work that nobody holds
INTERRUPTED = (
    "The turn was interrupted: the process that ran it is gone. What it had begun is not run again."
)


class SessionRunner:
    """The work of a gateway on sessions. `wake` begins the work on a session."""

    def __init__(self, bus: Bus, journals: SessionJournals, turns: ManagedTurns) -> None:
        self._bus = bus
        self._journals = journals
        self._turns = turns
        self._working: dict[SessionName, asyncio.Task[None]] = {}
        self._stopping = False
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look_for_work())
        return self

    async def __aexit__(self, *_: object) -> None:
        # A gateway that is replaced lets its turns end. One that stops has interrupted them by now,
        # as it interrupts all requests.
        self._stopping = True
        await end_task(self._looking)
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    def wake(self, name: SessionName) -> None:
        """Begin the work on a session, unless the work is under way here or the gateway stops."""
        self._turns.wake(name)
        if name not in self._working and not self._stopping:
            task = asyncio.create_task(self._work(name))
            self._working[name] = task
            task.add_done_callback(lambda _: self._working.pop(name, None))

    async def _look_for_work(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(BusUnavailable):
                for name in await self._journals.abandoned():
                    self.wake(name)

    async def _work(self, name: SessionName) -> None:
        """Work on a session until the queue is empty, if no other process works on the session."""
        holder = secrets.token_hex(8)
        try:
            if not await self._bus.lease(name.key("lease"), holder, ttl=LEASE_SECONDS):
                return
            async with self._renewed(name, holder):
                await self._take_all(name, holder)
        except (BusUnavailable, SessionLeft) as error:
            # The next holder of the lease reports what is left behind.
            get_log().warning("session_left", session=name.id, reason=str(error))
        finally:
            with contextlib.suppress(BusUnavailable):
                await self._journals.release(name, holder, leave=True)

    async def _take_all(self, name: SessionName, holder: str) -> None:
        while not self._stopping:
            state = await self._journals.look(name)
            if state.turn is not None:
                nothing = AccessRecord("", 0.0)
                events = [
                    end_of_span(state.turn["span"], nothing, is_error=True),
                    *failure_events(CCProxyError(INTERRUPTED)),
                ]
                left = {"status": "idle", "turn": "", "waiting": {}}
                await self._step(name, holder, logged=events, state=left)
            elif not state.queue:
                if await self._journals.release(name, holder):
                    return
            elif state.queue[0][0]["type"] == "user.message":
                event, text = state.queue[0]
                try:
                    await self._turns.run(name, holder, event, text)
                except NotFound:
                    return  # the session was deleted
                except Stopping:
                    return
            else:
                # It came too late: nothing runs that it could be about.
                event, text = state.queue[0]
                logged = [event | {"processed_at": time_now()}]
                if event["type"] == "user.custom_tool_result":
                    logged.append(late_result_event(event))
                await self._step(name, holder, logged=logged, taken=[text])

    async def _step(self, name: SessionName, holder: str, **step: Any) -> None:
        if not await self._journals.commit(name, holder, **step):
            raise SessionLeft

    @contextlib.asynccontextmanager
    async def _renewed(self, name: SessionName, holder: str) -> AsyncIterator[None]:
        """Renew the lease while the context is open. If another process has the lease by now, the
        block ends at its next step.
        """

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                with contextlib.suppress(BusUnavailable):
                    await self._bus.lease(name.key("lease"), holder, ttl=LEASE_SECONDS)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
