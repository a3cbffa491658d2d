"""An answer that is to be remembered becomes a rule that covers what was asked."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.remembering import remembered_rule
from permission_service.requests import PermissionRequests
from shared.bus.channels import PermissionRequest
from shared.runtime.errors import ClientError

NOW = 1_700_000_000.0
CASE = PermissionRequests(300).open(
    PermissionRequest("a", "Bash", {"command": "touch x"}, caller="alice", session_id="s"), NOW
)


@pytest.mark.parametrize(
    ("scope", "caller", "session_id"),
    [("session", "alice", "s"), ("caller", "alice", None), ("always", None, None)],
)
def test_a_rule_is_bound_to_its_scope(
    scope: str, caller: str | None, session_id: str | None
) -> None:
    rule = remembered_rule(
        CASE, {"scope": scope, "rule": {"tool": "Bash", "command": "touch x"}}, allowed=True
    )
    assert rule is not None
    assert (rule.effect, rule.scope, rule.caller, rule.session_id) == (
        "allow",
        scope,
        caller,
        session_id,
    )


def test_a_denial_becomes_a_deny_rule() -> None:
    rule = remembered_rule(CASE, {"scope": "always", "rule": {"tool": "Bash"}}, allowed=False)
    assert rule is not None
    assert rule.effect == "deny"


def test_an_answer_for_once_is_no_rule() -> None:
    assert remembered_rule(CASE, None, allowed=True) is None


@pytest.mark.parametrize(
    "remember",
    [
        {"scope": "for ever"},
        "always",
        {"scope": "always", "rule": "all"},
        {"scope": "always", "rule": {"tool": "Read"}},
        {"scope": "always", "rule": {"tools": "Bash"}},
    ],
)
def test_a_rule_that_does_not_fit_is_refused(remember: Any) -> None:
    with pytest.raises(ClientError):
        remembered_rule(CASE, remember, allowed=True)
