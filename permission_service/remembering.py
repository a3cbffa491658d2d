"""The rule that a person's answer becomes, when they want it remembered."""

from __future__ import annotations

from typing import Any

from permission_service.desk import Case
from shared.errors import ClientError
from shared.permissions.rules import Rule, judge, read_rule


def remembered_rule(case: Case, remember: Any, *, allowed: bool) -> Rule | None:
    """Return the new rule of an answer to `case`, or None for an answer without a rule.

    `remember` is `{"scope": …}`, with a `rule` of the person's own or else the suggested one.
    Raises ClientError.
    """
    if remember is None:
        return None
    if not isinstance(remember, dict) or remember.get("scope") not in {"session", "caller", "always"}:
        raise ClientError("remember.scope: expected session, caller or always.")
    ask = case.ask
    covered = remember.get("rule") or case.suggestion
    if not isinstance(covered, dict):
        raise ClientError("remember: no rule follows from this; give one as `remember.rule`.")
    scope, effect = remember["scope"], "allow" if allowed else "deny"
    bound = {} if scope == "always" else {"caller": ask.caller}
    if scope == "session":
        bound["session_id"] = ask.session_id
    rule = read_rule({**covered, "effect": effect, "scope": scope, **bound})
    if judge(ask, [rule]).outcome == "ask":
        raise ClientError("remember.rule: it would not have covered what is asked here.")
    return rule
