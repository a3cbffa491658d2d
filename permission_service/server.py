"""The desk's two channels: tools ask for permission; people look at what is asked, and answer.

Every change is written to Redis before anybody hears of it, one at a time: what was told stays true through a restart,
and of two answers one is first. An ask stays in its channel until its answer has left, so the next desk finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from permission_service.decision import BY_NO_WATCHER, Policy, answer_of
from permission_service.desk import Answer, Case, Desk, NoRoom
from permission_service.keeping import CaseStore, RuleBook, insist
from permission_service.own_cause import refuse_own_cause
from permission_service.remembering import remembered_rule
from permission_service.turns import CallerTurns
from permission_service.views import audit, log_question, show_case, show_event, why
from shared.bus import Bus, Delivery
from shared.channels import PERMISSION_AUDIT, DeskQuestion, PermissionAsk, decode, encode
from shared.errors import BusUnavailable, ClientError, NotFound
from shared.exact_json import dump_json
from shared.log import get_log
from shared.metrics import DeskMetrics
from shared.permissions.claude_rules import as_claude_deny
from shared.permissions.excerpts import refused_excerpt
from shared.permissions.fair_use import request_problem, taking_turns
from shared.permissions.protected import ProtectedPaths
from shared.permissions.rules import read_rule

ORPHAN_SECONDS = 10.0  # a living asker's call is delivered again within three
RECENT = 50
NO_WATCHER = (
    "Nobody watches for permission requests now, and the owner wants a denial then (SECURITY__DENY_WITHOUT_WATCHER)."
)

Parameters = dict[str, Any]


class DeskServer:
    """Passes deliveries to the `Desk`, and answers back to the senders. Call `load` before serving."""

    def __init__(
        self,
        desk: Desk,
        cases: CaseStore,
        rules: RuleBook,
        bus: Bus,
        metrics: DeskMetrics,
        clock: Callable[[], float] = time.time,
        protected: ProtectedPaths | None = None,
        *,
        deny_without_watcher: bool = False,
    ) -> None:
        self._desk, self._cases, self._rules, self._bus = desk, cases, rules, bus
        self._metrics, self._clock = metrics, clock
        self._protected = protected or ProtectedPaths((), home="/")
        self._policy = Policy(rules, self._protected)
        self._deny_without_watcher = deny_without_watcher
        self._watchers = 0
        self._one_at_a_time = asyncio.Lock()
        self._turns = CallerTurns()
        self._news = asyncio.Event()
        self._attended: set[str] = set()  # cases whose asker waits in this process
        self._changes: set[asyncio.Task[Case]] = set()
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
        for case in await self._cases.load():
            self._desk.keep(case)

    async def withdraw_orphans(self, after: float = ORPHAN_SECONDS) -> None:
        """End the requests of the previous process whose askers have not come back."""
        left = {case.id for case in self._desk.pending()}
        await asyncio.sleep(after)
        for request_id in left - self._attended:
            await self._conclude(await self._withdraw(request_id))

    async def ask(self, delivery: Delivery) -> None:
        """Send the decision on a request. Raises ClientError."""
        ask = decode(PermissionAsk, delivery.payload)
        if problem := ask.refused or request_problem(ask):
            await self._send_at_once(delivery, self._refused(ask, problem))
            return
        self._attended.add(ask.request_id)
        try:
            async with self._turns.turn_of(ask.caller):
                at_once = self._without_opening(ask)
                if at_once is None:
                    await self._forget_old()
                    at_once = await self._opened(ask)
            if at_once is not None:
                await self._send_at_once(delivery, at_once)
                return
            log_question(ask)
            case = await self._until_settled(ask.request_id)
            await self._record(case)
            await delivery.send(encode(case.decision()))
            await self._shorten(case)
        except asyncio.CancelledError:
            # Else this process stops and its successor goes on, or the asker is about to ask again.
            if delivery.caller_gone.is_set() and not delivery.caller_gave_up:
                with contextlib.suppress(NotFound):  # it left before its turn
                    await self._conclude(await self._withdraw(ask.request_id))
            raise
        except BusUnavailable:  # Redis was away for too long: the asker has been told no
            if self._desk.knows(ask.request_id):
                self._announce(self._desk.shorten(self._end(ask.request_id, self._desk.withdraw)))
            raise
        finally:
            self._attended.discard(ask.request_id)

    def _without_opening(self, ask: PermissionAsk) -> Case | None:
        """Return the ended case of a request without a person; None for a request to open."""
        if self._desk.knows(ask.request_id):
            return None
        ruling = self._policy.decide(ask)
        if ruling is None:
            problem = self._desk.share_problem(ask)
            return self._refused(ask, problem) if problem else None
        if not ruling.quiet:
            return None
        return self._desk.decided_at_once(ask, answer_of(ruling), self._clock())

    async def _opened(self, ask: PermissionAsk) -> Case | None:
        """Open a case for `ask`, or return an ended case if there is no room."""
        try:
            await self._change(lambda: self._open(ask))
        except NoRoom as full:
            return self._refused(ask, full.message)
        return None

    async def answer(self, delivery: Delivery) -> None:
        """Send the reply to a person. Raises ClientError, NotFound, Conflict, NotAllowed."""
        question = decode(DeskQuestion, delivery.payload)
        if question.may_ask:
            refuse_own_cause(question, self._desk.find)
        if question.verb == "watch":
            await self._watch(question.parameters.get("after"), delivery)
        verb = self._verbs.get(question.verb)
        if verb is None:
            raise ClientError(f"verb: the desk does not know {question.verb!r}.")
        await delivery.send(encode(await verb(question.parameters, question.by)))

    def _refused(self, ask: PermissionAsk, problem: str) -> Case:
        """Return the denied case of a request kept from people because of `problem`."""
        return self._desk.refuse(refused_excerpt(ask, problem), problem, self._clock())

    async def _send_at_once(self, delivery: Delivery, case: Case) -> None:
        """Log an ended case that was never open, and send the decision."""
        self._metrics.decided.labels(case.status).inc()
        await self._record(case, quiet=case.status == "allowed")
        await delivery.send(encode(case.decision()))

    async def _forget_old(self) -> None:
        for case in self._desk.forget_old(self._clock()):
            with contextlib.suppress(BusUnavailable):
                await self._cases.delete(case)

    async def _conclude(self, case: Case) -> None:
        """Log the end of `case`, and keep an excerpt of `case`."""
        await self._record(case)
        await self._shorten(case)

    async def _shorten(self, case: Case) -> None:
        """Store an excerpt of an ended case if the excerpt is shorter than the input."""
        short = self._desk.shorten(case)
        if short.size < case.size:
            with contextlib.suppress(BusUnavailable):
                await self._cases.save(short, now=self._clock())
            self._desk.keep(short)

    def _open(self, ask: PermissionAsk) -> Case:
        """Return the case of `ask`, settled if a rule decides. Raises NoRoom if the caller's share is used up."""
        case = self._desk.open(ask, self._clock())
        self._desk.keep(case)
        ruled = self._ruled(case)
        if ruled is not None:
            return ruled
        if case.status == "pending" and self._deny_without_watcher and not self._watchers:
            return self._desk.settle(
                case.id, Answer(allowed=False, by=BY_NO_WATCHER, message=NO_WATCHER), self._clock()
            )
        full = self._desk.refusal(case) if case.status == "pending" else ""
        if full:
            self._desk.drop(case)
            raise NoRoom(full)
        return self._desk.present(case)

    def _ruled(self, case: Case) -> Case | None:
        """Return the case as settled by the rules, or None."""
        now = self._clock()
        if case.status != "pending" or (case.expires_at is not None and now >= case.expires_at):
            return None
        ruling = self._policy.decide(case.ask)
        self._bus.describe(problem=self._rules.notice)
        return self._desk.settle(case.id, answer_of(ruling), now) if ruling is not None else None

    async def _until_settled(self, request_id: str) -> Case:
        """Wait for an answer, or the end of the time for an answer."""
        while (case := self._desk.find(request_id)).status == "pending":
            news, now = self._news, self._clock()
            if case.expires_at is not None and now >= case.expires_at:
                await self._change(lambda: self._end(request_id, self._desk.expire))
                continue
            try:
                async with asyncio.timeout(None if case.expires_at is None else case.expires_at - now):
                    await news.wait()
            except TimeoutError:
                continue
        return case

    def _settle_by_rule(self, request_id: str) -> Case:
        case = self._desk.find(request_id)
        return self._ruled(case) or case

    def _end(self, request_id: str, end: Callable[[Case, float], Case]) -> Case:
        """Return the case ended by `end`; an already ended case stays unchanged."""
        case = self._desk.find(request_id)
        return end(case, self._clock()) if case.status == "pending" else case

    async def _withdraw(self, request_id: str) -> Case:
        return await self._change(lambda: self._end(request_id, self._desk.withdraw))

    async def _change(
        self, step: Callable[[], Case], *, first: Callable[[], Awaitable[None]] | None = None, patient: bool = True
    ) -> Case:
        """Check, store and report a step of a case. A cancelled caller does not stop the step."""
        task = asyncio.create_task(self._make_change(step, first, patient))
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[Case]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left

    async def _make_change(
        self, step: Callable[[], Case], first: Callable[[], Awaitable[None]] | None, patient: bool
    ) -> Case:
        async with self._one_at_a_time:
            case = step()
            if first is not None:
                await first()
            if patient:
                await insist(lambda: self._cases.save(case, now=self._clock()))
            else:
                await self._cases.save(case, now=self._clock())
            self._announce(case)
            return case

    def _announce(self, case: Case) -> None:
        if self._desk.keep(case):
            self._metrics.decided.labels(case.status).inc()
        self._metrics.pending.set(len(self._desk.pending()))
        self._news.set()
        self._news = asyncio.Event()

    async def _record(self, case: Case, *, quiet: bool = False) -> None:
        """Write the audit record of `case`: at least once for every case, before the answer leaves."""
        record = audit(case)
        say = get_log().debug if quiet else get_log().info
        say(
            "permission_settled",
            request_id=case.id,
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
        """Send every event after number `after`, or else the pending requests and later events; `synced` marks now."""
        seen = after if isinstance(after, int) else None
        if seen is None:
            seen = self._desk.last_number
            pending = {case.id for case in self._desk.pending()}
            for event in list(self._desk.events_after(0)):
                if event.case.id in pending:
                    await delivery.send(encode(show_event(event)))
        await delivery.send(encode({"synced": seen}))
        while True:
            news = self._news
            for event in list(self._desk.events_after(seen)):
                await delivery.send(encode(show_event(event)))
                seen = event.number
            if self._desk.last_number <= seen:
                await news.wait()

    async def _list(self, parameters: Parameters, by: str) -> dict[str, Any]:
        now = self._clock()
        pending, recent = self._desk.pending(), self._desk.finished()[:RECENT]
        return {
            "pending": [show_case(case, now) for case in taking_turns(pending, lambda case: case.ask.caller)],
            "recent": [show_case(case, now) for case in recent],
        }

    async def _get(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return show_case(self._desk.find(str(parameters.get("request_id"))), self._clock())

    async def _decide(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Settle a request; the first answer counts. A rule of `remember` settles waiting ones too."""
        request_id, allowed = str(parameters.get("request_id")), parameters.get("allowed")
        if not isinstance(allowed, bool):
            raise ClientError("allowed: expected true or false.")
        case = self._desk.find(request_id)
        rule = remembered_rule(case, parameters.get("remember"), allowed=allowed)
        answer = Answer(allowed, by, str(parameters.get("message") or ""), parameters.get("updated_input"))

        async def remember() -> None:
            if rule is not None:
                await self._rules.add(rule, by)

        settled = await self._change(
            lambda: self._desk.settle(request_id, answer, self._clock()), first=remember, patient=False
        )
        if rule is not None:
            await self._apply_rules()
        shown = {"status": "success", "permission_id": request_id, "allowed": settled.status == "allowed"}
        return shown | ({"rule": rule.id, "remembered": rule.describe()} if rule else {})

    async def _apply_rules(self) -> None:
        """Settle waiting requests by a new rule."""
        for case in self._desk.pending():
            if self._ruled(case) is None:
                continue
            await self._change(partial(self._settle_by_rule, case.id))

    async def _withdraw_asker(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Withdraw the requests of an asker, on the asker's own demand."""
        asked = self._desk.asked_by(str(parameters.get("asker") or ""))
        for case in asked:
            await self._withdraw(case.id)
        return {"withdrawn": [case.id for case in asked]}

    async def _list_rules(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return {"rules": self._rules.describe(), "problem": self._rules.notice, "notes": self._rules.notes()}

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
        """Return the denials for Claude Code's own settings: the protected paths, and the deny rules in its syntax."""
        return {"deny": [*self._protected.as_claude_rules(), *as_claude_deny(self._rules.all())]}

    async def _explain(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Explain the end of a case, or the rules' decision on a request."""
        if request_id := parameters.get("request_id"):
            case = self._desk.find(str(request_id))
            shown = show_case(case, self._clock())
            return {
                "outcome": case.status,
                "why": why(case, self._rules.text_of(case.rule)),
                "rule": case.rule,
                "permission": shown,
            }
        ask = decode(PermissionAsk, dump_json({"request_id": "", **parameters}))
        outcome, text, rule = self._policy.explain(ask)
        return {"outcome": outcome, "why": text, "rule": rule}
