"""Rules are tried out on past requests by the code that answers requests."""

# ruff: noqa: ASYNC240 - small files of the test itself

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from permission_service.past import PastRequest, read_past_request
from permission_service.replay import MOST_DIFFERENCES, MOST_EXAMPLES, Replays
from permission_service.requests import PermissionRequests, RequestAnswer
from permission_service.rule_book import RuleBook
from permission_service.views import audit
from shared.bus.channels import PermissionRequest
from shared.permissions.protected import ProtectedPath, ProtectedPaths
from shared.permissions.rules import Rule
from shared.runtime.errors import ClientError
from tests.unit.permission_service.conftest import Clock, MemoryBus

GIT = '[[rules]]\ntool = "Bash"\ncommand_prefix = "git status"\n'
NO_GIT = '[[rules]]\neffect = "deny"\ntool = "Bash"\ncommand_prefix = "git"\n'
PROTECTED = ProtectedPaths([ProtectedPath("/keys", "keys", reads=True, writes=True)], home="/")


def decided(
    command: str, allowed: bool | None = True, by: str = "bob", **fields: Any
) -> PastRequest:
    """Return the record of a decided request; `allowed` None for a withdrawn one."""
    requests = PermissionRequests(300)
    ask = PermissionRequest(f"id {command}", "Bash", {"command": command}, **fields)
    requests.keep(requests.open(ask, 1.0))
    ended = (
        requests.withdraw(requests.find(ask.request_id), 2.0)
        if allowed is None
        else requests.settle(ask.request_id, RequestAnswer(allowed, by), 2.0)
    )
    kept = asdict(audit(ended)) | {"asked_at": "1970-01-01T00:00:01.000000Z"}
    return PastRequest(kept, read_past_request(kept))


class Past:
    def __init__(self, *requests: PastRequest) -> None:
        self.requests = requests
        self.start_time = 0.0

    async def since(self, start_time: float) -> AsyncGenerator[PastRequest, None]:
        self.start_time = start_time
        for request in self.requests:
            yield request


@pytest.fixture
def rules(rules_file: Path) -> RuleBook:
    return RuleBook(MemoryBus(), rules_file, Clock())  # type: ignore[arg-type]


def replays(rules: RuleBook, *requests: PastRequest) -> Replays:
    return Replays(Past(*requests), rules, PROTECTED, Clock())


async def test_each_past_request_is_counted_by_its_decision_then_and_now(rules: RuleBook) -> None:
    answer = await replays(
        rules,
        decided("git status"),
        decided("git status -s", allowed=False),
        decided("make"),
        decided("git status -b", allowed=None),
    ).of_file(GIT, None)
    counted = {
        (row["outcome"], row["by_person"], row["becomes"]): row["count"] for row in answer["counts"]
    }
    assert counted == {
        ("allowed", True, "allow"): 1,
        ("denied", True, "allow"): 1,
        ("allowed", True, "ask"): 1,
        ("cancelled", True, "allow"): 1,
    }
    different = [(row["request_id"], row["becomes"]) for row in answer["differences"]]
    assert different == [("id git status -s", "allow"), ("id git status -b", "allow")]
    assert answer["differences"][0]["why"] == "allow Bash: git status …"
    assert (answer["judged"], answer["not_judged"]) == (4, 0)


async def test_a_decision_by_a_rule_that_a_person_would_make_is_a_difference(
    rules: RuleBook,
) -> None:
    answer = await replays(rules, decided("make", by="rule")).of_file(GIT, 7)
    assert [row["becomes"] for row in answer["differences"]] == ["ask"]


async def test_a_protected_path_stays_denied_whatever_the_file_says(rules: RuleBook) -> None:
    anything = '[[rules]]\ntool = "*"\n'
    answer = await replays(rules, decided("cat /keys/id")).of_file(anything, None)
    assert [row["becomes"] for row in answer["differences"]] == ["deny"]


async def test_the_rules_in_force_are_not_those_tried_out(
    rules: RuleBook, rules_file: Path
) -> None:
    rules_file.parent.mkdir(parents=True)
    rules_file.write_text(NO_GIT)
    answer = await replays(rules, decided("git status")).of_file(GIT, None)
    assert answer["differences"] == []
    assert rules_file.read_text() == NO_GIT


async def test_a_built_in_rule_that_the_file_removes_is_not_tried(rules: RuleBook) -> None:
    todo = PermissionRequest("t", "TodoWrite", {})
    kept = asdict(audit(PermissionRequests(300).open(todo, 1.0))) | {"asked_at": ""}
    past = PastRequest(kept, read_past_request(kept))
    for text, becomes in (("", "allow"), ('removed = ["rule_conversation"]', "ask")):
        answer = await replays(rules, past).of_file(text, None)
        assert [row["becomes"] for row in answer["counts"]] == [becomes]


async def test_a_request_of_which_too_little_was_kept_is_counted_apart(rules: RuleBook) -> None:
    answer = await replays(rules, PastRequest({"request_id": "a"}, None)).of_file(GIT, None)
    assert (answer["judged"], answer["not_judged"], answer["counts"]) == (0, 1, [])


async def test_the_list_of_differences_has_an_end(rules: RuleBook) -> None:
    many = [decided("git status", allowed=False)] * (MOST_DIFFERENCES + 3)
    answer = await replays(rules, *many).of_file(GIT, None)
    assert (len(answer["differences"]), answer["more_differences"]) == (MOST_DIFFERENCES, 3)


@pytest.mark.parametrize("days", [0, -1, 367, "7", True, float("nan")])
async def test_a_span_that_is_none_is_refused(rules: RuleBook, days: Any) -> None:
    with pytest.raises(ClientError, match="days"):
        await replays(rules).of_file(GIT, days)


@pytest.mark.parametrize("text", [None, "[[rules]]", "not = toml = at all"])
async def test_a_file_with_a_mistake_is_refused(rules: RuleBook, text: Any) -> None:
    with pytest.raises(ClientError):
        await replays(rules).of_file(text, None)


async def test_the_time_looked_back_over_is_in_days(rules: RuleBook) -> None:
    past = Past()
    await Replays(past, rules, PROTECTED, Clock()).of_file("", 2)
    assert past.start_time == Clock().now - 2 * 86_400


class TestOneRule:
    RULE = Rule(tool="Bash", command_prefix="git")

    async def test_the_calls_that_it_would_have_allowed_are_counted(self, rules: RuleBook) -> None:
        calls = [decided(f"git log -{number}") for number in range(MOST_EXAMPLES + 2)]
        answer = await replays(rules, *calls, decided("make")).of_rule(self.RULE)
        assert (answer["count"], len(answer["examples"])) == (MOST_EXAMPLES + 2, MOST_EXAMPLES)
        assert answer["examples"][0]["input"] == '{"command":"git log -0"}'

    async def test_calls_that_are_allowed_or_denied_without_it_are_left_out(
        self, rules: RuleBook, rules_file: Path
    ) -> None:
        rules_file.parent.mkdir(parents=True)
        rules_file.write_text(GIT + NO_GIT.replace('"git"', '"git push"'))
        answer = await replays(
            rules, decided("git status"), decided("git push"), decided("git log")
        ).of_rule(self.RULE)
        assert [shown["request_id"] for shown in answer["examples"]] == ["id git log"]

    async def test_calls_near_a_protected_path_are_left_out(self, rules: RuleBook) -> None:
        answer = await replays(rules, decided("git -C /keys log")).of_rule(self.RULE)
        assert answer["count"] == 0
