"""The rule that a person's answer becomes, when they want it remembered."""

from __future__ import annotations

from typing import Any

from permission_service.requests import StoredRequest
from shared.permissions.rules import Rule, judge, read_rule
from shared.runtime.errors import ClientError


def remembered_rule(stored: StoredRequest, remember: Any, *, allowed: bool) -> Rule | None:
    """Return the new rule of an answer to `stored`, or None for an answer without a rule.

    `remember` is `{"scope": …}`, with a `rule` of the person's own or else the suggested one.
    Raises ClientError.
    """
    if remember is None:
        return None
    if not isinstance(remember, dict) or remember.get("scope") not in {
        "session",
        "caller",
        "always",
    }:
        raise ClientError("remember.scope: expected session, caller or always.")
    ask = stored.ask
    covered = remember.get("rule") or stored.suggestion
    if not isinstance(covered, dict):
        raise ClientError("remember: no rule follows from this; give one as `remember.rule`.")
    scope = remember["scope"]
    effect = "allow" if allowed else "deny"
    bound = {} if scope == "always" else {"caller": ask.caller}
    if scope == "session":
        bound["session_id"] = ask.session_id
    rule = read_rule({**covered, "effect": effect, "scope": scope, **bound})
    if judge(ask, [rule]).outcome == "ask":
        raise ClientError("remember.rule: it would not have covered what is asked here.")
    return rule
