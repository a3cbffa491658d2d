"""A caller that can make permission requests does not grant them."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.own_cause import refuse_own_cause
from permission_service.requests import StoredRequest
from shared.bus.channels import PermissionQuery, PermissionRequest
from shared.runtime.errors import NotAllowed, NotFound


def find(request_id: str) -> StoredRequest:
    if request_id != "a":
        raise NotFound
    return StoredRequest(
        PermissionRequest("a", "Bash", {"command": "ls"}, caller="alice"), 1, None, 0.0
    )


def question(verb: str, by: str, **parameters: Any) -> PermissionQuery:
    return PermissionQuery(verb, parameters, by, may_ask=True)


REFUSED = [
    question("decide", "alice", request_id="a", allowed=True),
    question("decide", "alice", request_id="a"),
    question("decide", "alice", request_id="a", allowed="false"),
    question("decide", "bob", request_id="a", allowed=True, remember={"scope": "always"}),
    question("decide", "bob", request_id="a", allowed=False, remember={"scope": "session"}),
    question("add_rule", "bob", tool="Bash"),
    question("remove_rule", "bob", id="r1"),
    question("set_profiles", "bob", active=[]),
    question("copy_profile", "bob", name="night"),
]
PASSED = [
    question("decide", "alice", request_id="a", allowed=False),
    question("decide", "bob", request_id="a", allowed=True),
    question("list", "alice"),
    question("rules", "alice"),
    question("profiles", "alice"),
    question("set_away", "alice", state="on"),
    question("explain", "alice", request_id="a"),
    question("withdraw", "alice", asker="alice/1"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_a_caller_that_can_ask_allows_neither_its_own_request_nor_a_rule(
    refused: PermissionQuery,
) -> None:
    with pytest.raises(NotAllowed, match=refused.by):
        refuse_own_cause(refused, find)


@pytest.mark.parametrize("passed", PASSED, ids=str)
def test_such_a_caller_may_look_deny_and_answer_others(passed: PermissionQuery) -> None:
    refuse_own_cause(passed, find)


def test_an_unknown_request_is_not_found() -> None:
    with pytest.raises(NotFound):
        refuse_own_cause(question("decide", "alice", request_id="b", allowed=True), find)


def test_such_a_caller_does_not_say_that_the_owner_left_while_a_profile_follows_it() -> None:
    leaves = question("set_away", "alice", state="on")
    with pytest.raises(NotAllowed, match="alice"):
        refuse_own_cause(leaves, find, away_changes_rules=True)
