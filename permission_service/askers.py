"""The channel of the tools: a permission request comes in, its decision goes back.

Invariant: a request stays in its channel until its decision has left, so the next process finds it.
A request ends without a decision only when its asker is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from permission_service.changes import Changes
from permission_service.decision import Policy, answer_of
from permission_service.presence import AT_DESK, Presence
from permission_service.requests import (
    NoRoom,
    PermissionRequests,
    RequestAnswer,
    StoredRequest,
)
from permission_service.rulings import Rulings
from permission_service.turns import CallerTurns
from permission_service.views import log_question
from permission_service.watchers import PermissionWatchers
from shared.bus import Delivery
from shared.bus.channels import (
    PermissionRequest,
    PermissionWaiting,
    decode_payload,
    encode_payload,
)
from shared.permissions.deciders import BY_LIMIT, BY_NO_WATCHER, BY_PRESENCE
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.fair_use import request_problem
from shared.runtime.errors import BusUnavailable, NotFound

NO_WATCHER = (
    "Nobody watches for permission requests now, and the owner wants a denial then "
    "(SECURITY__DENY_WITHOUT_WATCHER)."
)

NO_WATCHER_HERE = "Nobody watches for permission requests, so the agent asks in its own terminal."


class Askers:
    """The permission requests with askers waiting in the process."""

    def __init__(
        self,
        requests: PermissionRequests,
        changes: Changes,
        policy: Policy,
        rulings: Rulings,
        watchers: PermissionWatchers,
        presence: Presence,
        clock: Callable[[], float],
        *,
        deny_without_watcher: bool,
    ) -> None:
        self._requests = requests
        self._changes = changes
        self._policy = policy
        self._rulings = rulings
        self._watchers = watchers
        self._presence = presence
        self._clock = clock
        self._deny_without_watcher = deny_without_watcher
        self._turns = CallerTurns()
        self._attended: set[str] = set()

    async def ask(self, delivery: Delivery) -> None:
        """Send the decision on a request. Raises ClientError."""
        ask = decode_payload(PermissionRequest, delivery.payload)
        if problem := ask.refused or request_problem(ask):
            await self._send_at_once(delivery, self._refused(ask, problem))
            return
        # Noted before the first await: `withdraw_orphans` would else end a request whose asker has
        # just come back.
        self._attended.add(ask.request_id)
        try:
            # The turn covers the judging and the opening only. A request that waits for a person
            # must not keep the caller's other requests waiting.
            async with self._turns.turn_of(ask.caller):
                at_once = self._without_opening(ask)
                if at_once is None:
                    await self._changes.forget_old()
                    at_once = await self._opened(ask)
            if at_once is not None:
                await self._send_at_once(delivery, at_once)
                return
            log_question(ask)
            # A rule that is no built-in one has settled the opened request already.
            is_open = self._requests.find(ask.request_id).status == "pending"
            await announce_waiting(delivery, ask, waiting=is_open)
            stored = await self._changes.until_settled(ask.request_id)
            # The audit record is stored before the decision leaves: a tool never runs on a
            # permission that the records do not know. The excerpt comes last, because an answer
            # that got lost is sent again from the whole request.
            await self._changes.record(stored)
            await delivery.send(encode_payload(stored.decision()))
            await self._changes.shorten(stored)
        except asyncio.CancelledError:
            # Else this process stops and its successor goes on, or the asker is about to ask again.
            # A caller that is really gone withdraws its request.
            if delivery.caller_gone.is_set() and not delivery.caller_gave_up:
                with contextlib.suppress(NotFound):  # it left before its turn
                    await self._changes.conclude(await self._changes.withdraw(ask.request_id))
            raise
        except BusUnavailable:
            self._changes.cancel_unstored(ask.request_id)
            raise
        finally:
            self._attended.discard(ask.request_id)

    def _without_opening(self, ask: PermissionRequest) -> StoredRequest | None:
        """Return the ended request of a request without a person; None for a request to open."""
        if self._requests.knows(ask.request_id):
            return None
        ruling = self._policy.decide(ask)
        if ruling is None:
            if self._presence.stands_aside(ask):
                return self._requests.undecided_at_once(ask, BY_PRESENCE, AT_DESK, self._clock())
            problem = self._requests.share_problem(ask)
            return self._refused(ask, problem) if problem else None
        if not ruling.quiet:
            return None
        return self._requests.decided_at_once(ask, answer_of(ruling), self._clock())

    async def _opened(self, ask: PermissionRequest) -> StoredRequest | None:
        """Open a request for `ask`, or return an ended request if there is no room."""
        try:
            # Opened as a change, so that the checks inside and the write to Redis stand in one
            # order with all other changes.
            await self._changes.make(lambda: self._open(ask))
        except NoRoom as full:
            return self._refused(ask, full.message)
        return None

    async def withdraw_orphans(self, after: float) -> None:
        """End the requests of the previous process whose askers have not come back in `after`
        seconds.
        """
        # Taken before the sleep: requests opened meanwhile have an asker in this process or will
        # get their own end.
        left = {stored.id for stored in self._requests.pending()}
        await asyncio.sleep(after)
        for request_id in left - self._attended:
            await self._changes.conclude(await self._changes.withdraw(request_id))

    async def hand_back(self, message: str) -> None:
        """Leave the pending requests of agents with a terminal to their terminals, because of
        `message`. Raises BusUnavailable.
        """
        for stored in self._requests.pending():
            if stored.ask.asks_itself:
                await self._changes.hand_back(stored, message)

    def _refused(self, ask: PermissionRequest, problem: str) -> StoredRequest:
        """Return the ended request of a request kept from people because of `problem`: denied, or
        left to the agent's own terminal.
        """
        if ask.asks_itself:
            short = refused_excerpt(ask, problem)
            return self._requests.undecided_at_once(short, BY_LIMIT, problem, self._clock())
        return self._requests.refuse(refused_excerpt(ask, problem), problem, self._clock())

    async def _send_at_once(self, delivery: Delivery, stored: StoredRequest) -> None:
        """Log an ended request that was never open, and send the decision."""
        self._changes.count(stored)
        await self._changes.record(stored, quiet=stored.status in {"allowed", "undecided"})
        await announce_waiting(delivery, stored.ask, waiting=False)
        await delivery.send(encode_payload(stored.decision()))

    def _open(self, ask: PermissionRequest) -> StoredRequest:
        """Return the request of `ask`, settled if a rule decides. Raises NoRoom if the caller's
        share is used up.
        """
        stored = self._requests.open(ask, self._clock())
        # Kept before it is ruled on, because `settle` finds the request by its id.
        self._requests.keep(stored)
        if stored.status != "pending":
            # It ended before its asker came back.
            return stored
        ruled = self._rulings.settled(stored)
        if ruled is not None:
            return ruled
        if self._presence.stands_aside(ask):
            # The owner has come back since the first look.
            return self._requests.hand_back(stored, AT_DESK, self._clock())
        if self._deny_without_watcher and not self._watchers.count:
            if ask.asks_itself:
                return self._requests.hand_back(stored, NO_WATCHER_HERE, self._clock())
            denial = RequestAnswer(allowed=False, by=BY_NO_WATCHER, message=NO_WATCHER)
            return self._requests.settle(stored.id, denial, self._clock())
        if full := self._requests.refusal(stored):
            # Dropped as if it had never come: a refused request was told to nobody, and must not
            # take the place of requests that people see.
            self._requests.drop(stored)
            raise NoRoom(full)
        return self._requests.present(stored)


async def announce_waiting(delivery: Delivery, ask: PermissionRequest, *, waiting: bool) -> None:
    """Send the first of two replies to an asker that wants both. Every process that takes the
    request over sends the same number of replies.
    """
    if ask.announces:
        await delivery.send(encode_payload(PermissionWaiting(waiting)))
