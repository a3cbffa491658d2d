"""The two channels of the permission service: tools ask for permission; people look at what is
asked, and answer.

Every change is written to Redis before anybody hears of it, one at a time: what was told stays true
through a restart, and of two answers one is first. An ask stays in its channel until its answer has
left, so the next process finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from permission_service.decision import BY_NO_WATCHER, Policy, answer_of
from permission_service.own_cause import refuse_own_cause
from permission_service.remembering import remembered_rule
from permission_service.requests import Answer, NoRoom, PermissionRequests, StoredRequest
from permission_service.store import RequestStore, RuleBook, insist
from permission_service.turns import CallerTurns
from permission_service.views import audit, log_question, show_event, show_state, why
from shared.bus import Bus, Delivery
from shared.bus.channels import (
    PERMISSION_AUDIT,
    PermissionQuery,
    PermissionRequest,
    decode_payload,
    encode_payload,
)
from shared.permissions.claude_rules import as_claude_deny
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.fair_use import request_problem, taking_turns
from shared.permissions.protected import ProtectedPaths
from shared.permissions.rules import read_rule
from shared.runtime.errors import BusUnavailable, ClientError, NotFound
from shared.runtime.exact_json import dump_json
from shared.runtime.log import get_log
from shared.runtime.metrics import PermissionMetrics

ORPHAN_SECONDS = 10.0  # a living asker's call is delivered again within three
RECENT = 50
NO_WATCHER = (
    "Nobody watches for permission requests now, and the owner wants a denial then "
    "(SECURITY__DENY_WITHOUT_WATCHER)."
)

Parameters = dict[str, Any]


class PermissionServer:
    """Passes deliveries to `PermissionRequests`, and answers back to the senders. Call `load`
    before serving.
    """

    def __init__(
        self,
        requests: PermissionRequests,
        stored_requests: RequestStore,
        rules: RuleBook,
        bus: Bus,
        metrics: PermissionMetrics,
        clock: Callable[[], float] = time.time,
        protected: ProtectedPaths | None = None,
        *,
        deny_without_watcher: bool = False,
    ) -> None:
        self._requests = requests
        self._store = stored_requests
        self._rules = rules
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._protected = protected or ProtectedPaths((), home="/")
        self._policy = Policy(rules, self._protected)
        self._deny_without_watcher = deny_without_watcher
        self._watchers = 0
        self._one_at_a_time = asyncio.Lock()
        self._turns = CallerTurns()
        self._news = asyncio.Event()
        self._attended: set[str] = set()  # requests whose asker waits in this process
        self._changes: set[asyncio.Task[StoredRequest]] = set()
        self._verbs: dict[str, Callable[[Parameters, str], Awaitable[Any]]] = {
            "list": self._list,
            "get": self._get,
            "decide": self._decide,
            "withdraw": self._withdraw_asker,
            "rules": self._list_rules,
            "add_rule": self._add_rule,
            "remove_rule": self._remove_rule,
            "restore_rule": self._restore_rule,
            "claude_rules": self._claude_rules,
            "explain": self._explain,
        }

    async def load(self) -> None:
        """Load the requests of the previous process. Raises BusUnavailable."""
        await self._rules.load()
        for stored in await self._store.load():
            self._requests.keep(stored)

    async def withdraw_orphans(self, after: float = ORPHAN_SECONDS) -> None:
        """End the requests of the previous process whose askers have not come back."""
        # Taken before the sleep: requests opened meanwhile have an asker in this process or will
        # get their own end.
        left = {stored.id for stored in self._requests.pending()}
        await asyncio.sleep(after)
        for request_id in left - self._attended:
            await self._conclude(await self._withdraw(request_id))

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
                    await self._forget_old()
                    at_once = await self._opened(ask)
            if at_once is not None:
                await self._send_at_once(delivery, at_once)
                return
            log_question(ask)
            stored = await self._until_settled(ask.request_id)
            # The audit record is stored before the decision leaves: a tool never runs on a
            # permission that the records do not know. The excerpt comes last, because an answer
            # that got lost is sent again from the whole request.
            await self._record(stored)
            await delivery.send(encode_payload(stored.decision()))
            await self._shorten(stored)
        except asyncio.CancelledError:
            # Else this process stops and its successor goes on, or the asker is about to ask again.
            # A caller that is really gone withdraws its request.
            if delivery.caller_gone.is_set() and not delivery.caller_gave_up:
                with contextlib.suppress(NotFound):  # it left before its turn
                    await self._conclude(await self._withdraw(ask.request_id))
            raise
        except BusUnavailable:  # Redis was away for too long: the asker has been told no
            if self._requests.knows(ask.request_id):
                self._announce(
                    self._requests.shorten(self._end(ask.request_id, self._requests.withdraw))
                )
            raise
        finally:
            self._attended.discard(ask.request_id)

    def _without_opening(self, ask: PermissionRequest) -> StoredRequest | None:
        """Return the ended request of a request without a person; None for a request to open."""
        if self._requests.knows(ask.request_id):
            return None
        ruling = self._policy.decide(ask)
        if ruling is None:
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
            await self._change(lambda: self._open(ask))
        except NoRoom as full:
            return self._refused(ask, full.message)
        return None

    async def answer(self, delivery: Delivery) -> None:
        """Send the reply to a person. Raises ClientError, NotFound, Conflict, NotAllowed."""
        question = decode_payload(PermissionQuery, delivery.payload)
        # Before any verb runs: a caller that may ask must not grant its own requests.
        if question.may_ask:
            refuse_own_cause(question, self._requests.find)
        if question.verb == "watch":
            await self._watch(question.parameters.get("after"), delivery)
        verb = self._verbs.get(question.verb)
        if verb is None:
            raise ClientError(f"verb: the permission service does not know {question.verb!r}.")
        await delivery.send(encode_payload(await verb(question.parameters, question.by)))

    def _refused(self, ask: PermissionRequest, problem: str) -> StoredRequest:
        """Return the denied request of a request kept from people because of `problem`."""
        return self._requests.refuse(refused_excerpt(ask, problem), problem, self._clock())

    async def _send_at_once(self, delivery: Delivery, stored: StoredRequest) -> None:
        """Log an ended request that was never open, and send the decision."""
        self._metrics.decided.labels(stored.status).inc()
        await self._record(stored, quiet=stored.status == "allowed")
        await delivery.send(encode_payload(stored.decision()))

    async def _forget_old(self) -> None:
        for stored in self._requests.forget_old(self._clock()):
            with contextlib.suppress(BusUnavailable):
                await self._store.delete(stored)

    async def _conclude(self, stored: StoredRequest) -> None:
        """Log the end of `stored`, and keep an excerpt of `stored`."""
        await self._record(stored)
        await self._shorten(stored)

    async def _shorten(self, stored: StoredRequest) -> None:
        """Store an excerpt of an ended request if the excerpt is shorter than the input."""
        short = self._requests.shorten(stored)
        if short.size < stored.size:
            with contextlib.suppress(BusUnavailable):
                await self._store.save(short, now=self._clock())
            self._requests.keep(short)

    def _open(self, ask: PermissionRequest) -> StoredRequest:
        """Return the request of `ask`, settled if a rule decides. Raises NoRoom if the caller's
        share is used up.
        """
        stored = self._requests.open(ask, self._clock())
        # Kept before it is ruled on, because `settle` finds the request by its id.
        self._requests.keep(stored)
        ruled = self._ruled(stored)
        if ruled is not None:
            return ruled
        if stored.status == "pending" and self._deny_without_watcher and not self._watchers:
            return self._requests.settle(
                stored.id,
                Answer(allowed=False, by=BY_NO_WATCHER, message=NO_WATCHER),
                self._clock(),
            )
        full = self._requests.refusal(stored) if stored.status == "pending" else ""
        if full:
            # Dropped as if it had never come: a refused request was told to nobody, and must not
            # take the place of requests that people see.
            self._requests.drop(stored)
            raise NoRoom(full)
        return self._requests.present(stored)

    def _ruled(self, stored: StoredRequest) -> StoredRequest | None:
        """Return the request as settled by the rules, or None."""
        now = self._clock()
        if stored.status != "pending" or (
            stored.expires_at is not None and now >= stored.expires_at
        ):
            return None
        ruling = self._policy.decide(stored.ask)
        # The decision may have read the rules file again, so a problem of the file is shown from
        # here on.
        self._bus.describe(problem=self._rules.notice)
        return (
            self._requests.settle(stored.id, answer_of(ruling), now) if ruling is not None else None
        )

    async def _until_settled(self, request_id: str) -> StoredRequest:
        """Wait for an answer, or the end of the time for an answer."""
        while (stored := self._requests.find(request_id)).status == "pending":
            # The event is taken before the wait, and no await stands between it and the look at the
            # status: a change that comes later sets just this event.
            news = self._news
            now = self._clock()
            if stored.expires_at is not None and now >= stored.expires_at:
                # The end of the time is a change like any other. A person's answer may be ahead of
                # it in the queue, and then `_end` leaves that answer as it is.
                await self._change(lambda: self._end(request_id, self._requests.expire))
                continue
            try:
                async with asyncio.timeout(
                    None if stored.expires_at is None else stored.expires_at - now
                ):
                    await news.wait()
            except TimeoutError:
                continue
        return stored

    def _settle_by_rule(self, request_id: str) -> StoredRequest:
        stored = self._requests.find(request_id)
        return self._ruled(stored) or stored

    def _end(
        self, request_id: str, end: Callable[[StoredRequest, float], StoredRequest]
    ) -> StoredRequest:
        """Return the request ended by `end`; an already ended request stays unchanged."""
        stored = self._requests.find(request_id)
        return end(stored, self._clock()) if stored.status == "pending" else stored

    async def _withdraw(self, request_id: str) -> StoredRequest:
        return await self._change(lambda: self._end(request_id, self._requests.withdraw))

    async def _change(
        self,
        step: Callable[[], StoredRequest],
        *,
        first: Callable[[], Awaitable[None]] | None = None,
        patient: bool = True,
    ) -> StoredRequest:
        """Check, store and report a step of a request. A cancelled caller does not stop
        the step.
        """
        # A task of its own, kept in `_changes`: a caller that leaves in the middle must not leave a
        # change that is stored but told to nobody.
        task = asyncio.create_task(self._make_change(step, first, patient))
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[StoredRequest]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left

    async def _make_change(
        self,
        step: Callable[[], StoredRequest],
        first: Callable[[], Awaitable[None]] | None,
        patient: bool,
    ) -> StoredRequest:
        # One change at a time: the check in `step` holds until the result is in force, so of two
        # answers to one request the second meets Conflict.
        async with self._one_at_a_time:
            stored = step()
            # The rule of an answer is stored before the answer. The reverse order could settle the
            # request and lose the rule.
            if first is not None:
                await first()
            # A person can press the button again, so a person's answer fails at once when Redis is
            # away. Any other change has nobody to try again.
            if patient:
                await insist(lambda: self._store.save(stored, now=self._clock()))
            else:
                await self._store.save(stored, now=self._clock())
            # Stored first, told second: what people and agents have heard stays true through a
            # restart.
            self._announce(stored)
            return stored

    def _announce(self, stored: StoredRequest) -> None:
        if self._requests.keep(stored):
            self._metrics.decided.labels(stored.status).inc()
        self._metrics.pending.set(len(self._requests.pending()))
        # A new event for the next change: those who wait wake once, and none of them can clear the
        # event under another.
        self._news.set()
        self._news = asyncio.Event()

    async def _record(self, stored: StoredRequest, *, quiet: bool = False) -> None:
        """Write the audit record of `stored`: at least once for every request, before the answer
        leaves.
        """
        record = audit(stored)
        say = get_log().debug if quiet else get_log().info
        say(
            "permission_settled",
            request_id=stored.id,
            tool=record.tool_name,
            caller=record.caller,
            outcome=record.outcome,
            by=record.decided_by,
            rule=record.rule,
            waited_ms=round(record.waited_ms),
        )
        await insist(lambda: self._bus.publish(PERMISSION_AUDIT, record))

    async def _watch(self, after: Any, delivery: Delivery) -> None:
        self._watchers += 1
        try:
            await self._send_events(after, delivery)
        finally:
            self._watchers -= 1

    async def _send_events(self, after: Any, delivery: Delivery) -> None:
        """Send every event after number `after`, or else the pending requests and later events;
        `synced` marks now.
        """
        seen = after if isinstance(after, int) else None
        if seen is None:
            # The number is taken before the sending, which waits: events of that time come in the
            # loop below.
            seen = self._requests.last_number
            pending = {stored.id for stored in self._requests.pending()}
            for event in list(self._requests.events_after(0)):
                if event.stored.id in pending:
                    await delivery.send(encode_payload(show_event(event)))
        await delivery.send(encode_payload({"synced": seen}))
        while True:
            # Taken before the look at the requests: an event during the sending sets this one, and
            # the wait below ends at once.
            news = self._news
            for event in list(self._requests.events_after(seen)):
                await delivery.send(encode_payload(show_event(event)))
                # Counted up with each event sent: more events may come while one is being sent, and
                # the next round goes on from here.
                seen = event.number
            if self._requests.last_number <= seen:
                await news.wait()

    async def _list(self, parameters: Parameters, by: str) -> dict[str, Any]:
        now = self._clock()
        pending = self._requests.pending()
        recent = self._requests.finished()[:RECENT]
        return {
            "pending": [
                show_state(stored, now)
                for stored in taking_turns(pending, lambda stored: stored.ask.caller)
            ],
            "recent": [show_state(stored, now) for stored in recent],
        }

    async def _get(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return show_state(self._requests.find(str(parameters.get("request_id"))), self._clock())

    async def _decide(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Settle a request; the first answer counts. A rule of `remember` settles
        waiting ones too.
        """
        request_id = str(parameters.get("request_id"))
        allowed = parameters.get("allowed")
        if not isinstance(allowed, bool):
            raise ClientError("allowed: expected true or false.")
        stored = self._requests.find(request_id)
        rule = remembered_rule(stored, parameters.get("remember"), allowed=allowed)
        answer = Answer(
            allowed, by, str(parameters.get("message") or ""), parameters.get("updated_input")
        )

        async def remember() -> None:
            if rule is not None:
                await self._rules.add(rule, by)

        settled = await self._change(
            lambda: self._requests.settle(request_id, answer, self._clock()),
            first=remember,
            patient=False,
        )
        if rule is not None:
            await self._apply_rules()
        shown = {
            "status": "success",
            "permission_id": request_id,
            "allowed": settled.status == "allowed",
        }
        return shown | ({"rule": rule.id, "remembered": rule.describe()} if rule else {})

    async def _apply_rules(self) -> None:
        """Settle waiting requests by a new rule."""
        for stored in self._requests.pending():
            # A first look without a change spares the requests that the new rule does not concern a
            # write to Redis.
            if self._ruled(stored) is None:
                continue
            # Ruled on again inside the change: a person may have answered since the first look.
            await self._change(partial(self._settle_by_rule, stored.id))

    async def _withdraw_asker(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Withdraw the requests of an asker, on the asker's own demand."""
        asked = self._requests.asked_by(str(parameters.get("asker") or ""))
        for stored in asked:
            await self._withdraw(stored.id)
        return {"withdrawn": [stored.id for stored in asked]}

    async def _list_rules(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return {
            "rules": self._rules.describe(),
            "problem": self._rules.notice,
            "notes": self._rules.notes(),
        }

    async def _add_rule(self, parameters: Parameters, by: str) -> dict[str, Any]:
        rule = read_rule(parameters)
        await self._rules.add(rule, by)
        await self._apply_rules()
        return {"id": rule.id, "text": rule.describe()}

    async def _remove_rule(self, parameters: Parameters, by: str) -> dict[str, Any]:
        rule_id = str(parameters.get("id"))
        return {"id": rule_id, "text": await self._rules.remove(rule_id), "status": "removed"}

    async def _restore_rule(self, parameters: Parameters, by: str) -> dict[str, Any]:
        rule_id = str(parameters.get("id"))
        text = await self._rules.restore(rule_id)
        await self._apply_rules()
        return {"id": rule_id, "text": text, "status": "restored"}

    async def _claude_rules(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Return the denials for Claude Code's own settings: the protected paths, and the deny
        rules in its syntax.
        """
        return {"deny": [*self._protected.as_claude_rules(), *as_claude_deny(self._rules.all())]}

    async def _explain(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Explain the end of a request, or the rules' decision on a request."""
        if request_id := parameters.get("request_id"):
            stored = self._requests.find(str(request_id))
            shown = show_state(stored, self._clock())
            return {
                "outcome": stored.status,
                "why": why(stored, self._rules.text_of(stored.rule)),
                "rule": stored.rule,
                "permission": shown,
            }
        ask = decode_payload(PermissionRequest, dump_json({"request_id": "", **parameters}))
        outcome, text, rule = self._policy.explain(ask)
        return {"outcome": outcome, "why": text, "rule": rule}
