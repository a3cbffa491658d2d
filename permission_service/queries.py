"""The channel of the people: what they look at, what they answer, and the rules they make.

Invariant: a caller that may ask is checked before any verb runs, so nobody grants an own request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from permission_service.changes import Changes
from permission_service.decision import Policy
from permission_service.notice_board import NoticeBoard
from permission_service.notify.browsers import Subscriber
from permission_service.notify.messages import ended_id
from permission_service.notify.notifier import Notifier
from permission_service.notify.web_push import WebPush
from permission_service.own_cause import refuse_own_cause
from permission_service.presence import Presence
from permission_service.profile_switch import ProfileSwitch
from permission_service.remembering import remembered_rule
from permission_service.replay import Replays
from permission_service.requests import PermissionRequests, RequestAnswer
from permission_service.rule_book import RuleBook
from permission_service.rulings import Rulings
from permission_service.views import show_state, why
from permission_service.watchers import PermissionWatchers
from shared.bus import Delivery
from shared.bus.channels import PermissionQuery, PermissionRequest, decode_payload, encode_payload
from shared.permissions.fair_use import taking_turns
from shared.permissions.rules import read_rule
from shared.runtime.errors import ClientError, Conflict
from shared.runtime.exact_json import dump_json

RECENT = 50

Parameters = dict[str, Any]


class Queries:
    """The verbs of `PermissionQuery`, one method each: parameters and the caller's name in, the
    reply out.
    """

    def __init__(
        self,
        requests: PermissionRequests,
        changes: Changes,
        policy: Policy,
        rules: RuleBook,
        rulings: Rulings,
        watchers: PermissionWatchers,
        presence: Presence,
        profiles: ProfileSwitch,
        notices: NoticeBoard,
        notifier: Notifier,
        web_push: WebPush | None,
        replays: Replays,
        clock: Callable[[], float],
    ) -> None:
        self._requests = requests
        self._changes = changes
        self._policy = policy
        self._rules = rules
        self._rulings = rulings
        self._watchers = watchers
        self._presence = presence
        self._profiles = profiles
        self._notices = notices
        self._notifier = notifier
        self._web_push = web_push
        self._replays = replays
        self._clock = clock
        self._verbs: dict[str, Callable[[Parameters, str], Awaitable[Any]]] = {
            "list": self._list,
            "get": self._get,
            "decide": self._decide,
            "withdraw": self._withdraw,
            "rules": self._list_rules,
            "add_rule": self._add_rule,
            "remove_rule": self._remove_rule,
            "restore_rule": self._restore_rule,
            "explain": self._explain,
            "replay": self._replay,
            "preview": self._preview,
            "profiles": self._show_profiles,
            "set_profiles": self._set_profiles,
            "copy_profile": self._copy_profile,
            "presence": self._show_presence,
            "set_away": self._set_away,
            "notice": self._notice,
            "notices": self._list_notices,
            "answer_link": self._answer_link,
            "try_notifications": self._try_notifications,
            "push_key": self._show_push_key,
            "browsers": self._list_browsers,
            "add_browser": self._add_browser,
            "remove_browser": self._remove_browser,
        }

    async def answer(self, delivery: Delivery) -> None:
        """Send the reply to a person. Raises ClientError, NotFound, Conflict, NotAllowed."""
        question = decode_payload(PermissionQuery, delivery.payload)
        # Before any verb runs: a caller that may ask must not grant its own requests.
        if question.may_ask:
            follows = bool(self._rules.switched().while_away)
            refuse_own_cause(question, self._requests.find, away_changes_rules=follows)
        if question.verb == "watch":
            await self._watchers.send_events(question.parameters.get("after"), delivery)
        verb = self._verbs.get(question.verb)
        if verb is None:
            raise ClientError(f"verb: the permission service does not know {question.verb!r}.")
        await delivery.send(encode_payload(await verb(question.parameters, question.by)))

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
        """Settle a request; the first answer counts. A rule of `remember` settles waiting requests
        too.
        """
        request_id = str(parameters.get("request_id"))
        allowed = parameters.get("allowed")
        if not isinstance(allowed, bool):
            raise ClientError("allowed: expected true or false.")
        stored = self._requests.find(request_id)
        rule = remembered_rule(stored, parameters.get("remember"), allowed=allowed)
        answer = RequestAnswer(
            allowed, by, str(parameters.get("message") or ""), parameters.get("updated_input")
        )

        async def remember() -> None:
            if rule is not None:
                await self._rules.add(rule, by)

        if self._web_push is not None and (browser := parameters.get("browser")):
            # The browser that answers knows the outcome; the others get it.
            self._web_push.skip(ended_id(request_id), str(browser))
        settled = await self._changes.make(
            lambda: self._requests.settle(request_id, answer, self._clock()),
            first=remember,
            patient=False,
        )
        if rule is not None:
            await self._rulings.apply()
        shown = {
            "status": "success",
            "permission_id": request_id,
            "allowed": settled.status == "allowed",
        }
        return shown | ({"rule": rule.id, "remembered": rule.describe()} if rule else {})

    async def _withdraw(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Withdraw the requests of an asker, on the asker's own demand."""
        asked = self._requests.asked_by(str(parameters.get("asker") or ""))
        for stored in asked:
            await self._changes.withdraw(stored.id)
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
        await self._rulings.apply()
        return {"id": rule.id, "text": rule.describe()}

    async def _remove_rule(self, parameters: Parameters, by: str) -> dict[str, Any]:
        rule_id = str(parameters.get("id"))
        return {"id": rule_id, "text": await self._rules.remove(rule_id), "status": "removed"}

    async def _restore_rule(self, parameters: Parameters, by: str) -> dict[str, Any]:
        rule_id = str(parameters.get("id"))
        text = await self._rules.restore(rule_id)
        await self._rulings.apply()
        return {"id": rule_id, "text": text, "status": "restored"}

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

    async def _replay(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Try the `rules` of a TOML text out on the past requests of the last `days`."""
        return await self._replays.of_file(parameters.get("rules"), parameters.get("days"))

    async def _preview(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Show the past calls that the rule of an answer's `remember` would have allowed."""
        stored = self._requests.find(str(parameters.get("request_id")))
        rule = remembered_rule(stored, parameters.get("remember"), allowed=True)
        if rule is None:
            raise ClientError("remember: expected the scope of a rule.")
        return await self._replays.of_rule(rule)

    async def _show_presence(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return self._presence.show()

    async def _set_away(self, parameters: Parameters, by: str) -> dict[str, Any]:
        shown = await self._presence.change(parameters, by)
        await self._profiles.look_again(by)
        return shown

    async def _show_profiles(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return self._profiles.show()

    async def _set_profiles(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Put the profiles `active` and `while_away` in force."""
        return await self._profiles.switch(parameters, by)

    async def _copy_profile(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return await self._profiles.copy(parameters.get("name"))

    async def _notice(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Tell watchers the news of an agent: the fields of `HookNotice`."""
        await self._notices.add("notice", parameters | {"caller": by}, by)
        return {"status": "told"}

    async def _list_notices(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return {"notices": self._notices.show()}

    async def _answer_link(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Settle the request of a one-time link; no caller is needed. Raises Gone."""
        return await self._notifier.answer(str(parameters.get("digest") or ""))

    async def _try_notifications(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """Send a test message by every way, and tell what came back."""
        return {"ways": await self._notifier.try_all()}

    async def _show_push_key(self, parameters: Parameters, by: str) -> dict[str, Any]:
        return {"key": self._subscribing().public_key()}

    async def _list_browsers(self, parameters: Parameters, by: str) -> dict[str, Any]:
        """List the subscribed browsers: all for the owner, else the browsers of the caller's
        token.
        """
        if self._web_push is None:
            return {"browsers": []}
        await self._web_push.browsers.forget_ended()
        return {"browsers": [each.show() for each in self._web_push.browsers.seen_by(by)]}

    async def _add_browser(self, parameters: Parameters, by: str) -> dict[str, Any]:
        subscriber = Subscriber(
            by,
            str(parameters.get("digest") or ""),
            str(parameters.get("page") or ""),
            str(parameters.get("user_agent") or ""),
        )
        return await self._subscribing().subscribe(parameters.get("subscription"), subscriber)

    async def _remove_browser(self, parameters: Parameters, by: str) -> dict[str, Any]:
        await self._subscribing().browsers.remove(str(parameters.get("id")), by)
        return {"status": "removed"}

    def _subscribing(self) -> WebPush:
        """Return the way to browsers. Raises Conflict when the owner has switched it off."""
        if self._web_push is None:
            raise Conflict("Messages to browsers are switched off (NOTIFY__WEB_PUSH).")
        return self._web_push
