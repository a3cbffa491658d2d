"""The decision on a permission request without a person, in one order for every agent and every
permission mode.

1. A protected path denies, whatever the rules, the mode and the people say.
2. A deny rule denies.
3. A call that must be asked about is a person's to decide.
4. In bypass mode, which only the owner can set, everything else is allowed.
5. An allow rule allows: the owner's own, one that follows from a setting, or a built-in one. It
   does not when a deny rule or a protected path may be concerned, or when the tool asks a person a
   question.
6. Nobody has decided: a person does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from permission_service.built_in import BuiltInRule
from permission_service.requests import RequestAnswer
from shared.bus.channels import PermissionRequest
from shared.permissions.deciders import BY_BUILT_IN, BY_BYPASS, BY_PROTECTION, BY_RULE
from shared.permissions.protected import ProtectedPaths
from shared.permissions.rules import Rule, judge
from shared.permissions.tools import QUESTION

RULED_OUT = "A rule of this server's owner denies this ({rule})."


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision without a person. `by` names the kind of the decider, `rule` the rule's id.

    `message` says why a denied call is denied.
    """

    allowed: bool
    by: str
    rule: str = ""
    message: str = ""

    @property
    def quiet(self) -> bool:
        """Return True for frequent decisions, shown only in the permission log."""
        return self.allowed and self.by in {BY_BUILT_IN, BY_BYPASS}


class RulesInForce(Protocol):
    """The rules for the decisions of a policy: the rules of an installation, or rules tried out."""

    def concerning(self, request: PermissionRequest) -> list[Rule]: ...

    def built_in(self) -> list[BuiltInRule]: ...

    def text_of(self, rule_id: str) -> str: ...


class Policy:
    """The protected paths of an installation, and rules."""

    def __init__(self, rules: RulesInForce, protected: ProtectedPaths) -> None:
        self._rules = rules
        self._protected = protected

    def decide(self, request: PermissionRequest) -> Ruling | None:
        """Return the decision on `request`; None when a person has to decide."""
        # The order of the steps in the module's text is the order of this function.
        protected = self._protected.touched_by(request)
        if protected is not None:
            return Ruling(allowed=False, by=BY_PROTECTION, message=protected)
        verdict = judge(request, self._rules.concerning(request))
        if verdict.outcome == "deny" and verdict.rule is not None:
            return denied_by(verdict.rule)
        if request.must_ask:
            return None
        if request.bypass:
            return Ruling(allowed=True, by=BY_BYPASS)
        # A doubt about protected paths is stronger than any allow rule, so it is settled before the
        # allow rules are looked at.
        if request.tool_name == QUESTION or self._protected.may_be_touched_by(request) is not None:
            return None
        if verdict.outcome == "allow" and verdict.rule is not None:
            return Ruling(allowed=True, by=BY_RULE, rule=verdict.rule.id)
        # The verdict is `ask` here, and its rule, if any, is a deny rule that may apply: a built-in
        # rule must not pass over it.
        may_be_denied = verdict.rule is not None
        if may_be_denied or request.insists:
            return None
        built_in = self._covering(request)
        return Ruling(allowed=True, by=BY_BUILT_IN, rule=built_in.id) if built_in else None

    def explain(self, request: PermissionRequest) -> tuple[str, str, str]:
        """Return what would become of `request` (`allow`, `deny` or `ask`), why, and the id of the
        rule.
        """
        ruling = self.decide(request)
        if ruling is None:
            doubt = self._protected.may_be_touched_by(request)
            rule = judge(request, self._rules.concerning(request)).rule
            text = doubt or (rule.describe() if rule is not None else "no rule covers it")
            return "ask", text, rule.id if rule is not None else ""
        outcome = "allow" if ruling.allowed else "deny"
        return outcome, self._rules.text_of(ruling.rule) or ruling.message or ruling.by, ruling.rule

    def _covering(self, request: PermissionRequest) -> BuiltInRule | None:
        return next((rule for rule in self._rules.built_in() if rule.covers(request)), None)


def denied_by(rule: Rule) -> Ruling:
    return Ruling(
        allowed=False, by=BY_RULE, rule=rule.id, message=RULED_OUT.format(rule=rule.describe())
    )


def answer_of(ruling: Ruling) -> RequestAnswer:
    """Return `ruling` as the answer to a permission request."""
    return RequestAnswer(ruling.allowed, ruling.by, ruling.message, rule=ruling.rule)
