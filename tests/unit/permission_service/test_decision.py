"""The order of decision: protected paths, deny rules, bypass, allow rules, a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from permission_service.built_in import EDITING
from permission_service.decision import Policy
from permission_service.rule_book import FromSettings, RuleBook
from shared.bus.channels import PermissionRequest
from shared.permissions.protected import ProtectedPaths
from shared.permissions.reach import reach_of
from shared.permissions.rules import Rule
from tests.unit.permission_service.conftest import Clock, MemoryBus


class Protected(ProtectedPaths):
    """Protects every file named `secret`, and may be touched by every command that is named
    `maybe`.
    """

    def __init__(self) -> None:
        pass

    def touched_by(self, request: PermissionRequest) -> str | None:
        return (
            "secret is protected"
            if str(request.input.get("file_path", "")).endswith("secret")
            else None
        )

    def may_be_touched_by(self, request: PermissionRequest) -> str | None:
        return "secret may be touched" if request.input.get("command") == "maybe" else None


def policy(rules_file: Path, *rules: Rule, **from_settings: Any) -> Policy:
    book = RuleBook(
        MemoryBus(), rules_file, Clock(), FromSettings(rules, "the settings", **from_settings)
    )  # type: ignore[arg-type]
    return Policy(book, Protected())


def request(tool: str, folder: Path, **given: Any) -> PermissionRequest:
    work = str(folder.resolve())
    return PermissionRequest(
        "r", tool, given, working_directory=work, reach=reach_of(tool, given, work)
    )


ANYTHING = Rule(tool="*")
NOTHING = Rule(tool="*", effect="deny")


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("rules", [[], [ANYTHING], [NOTHING]])
def test_a_protected_path_is_denied_whatever_else_holds(
    rules_file: Path, tmp_path: Path, rules: list[Rule], bypass: bool
) -> None:
    asked = request("Read", tmp_path, file_path="secret")
    asked.bypass = bypass
    ruling = policy(rules_file, *rules).decide(asked)
    assert ruling is not None
    assert (ruling.allowed, ruling.by, ruling.message) == (
        False,
        "protection",
        "secret is protected",
    )


@pytest.mark.parametrize("bypass", [False, True])
def test_a_deny_rule_beats_allow_rules_built_in_rules_and_bypass(
    rules_file: Path, tmp_path: Path, bypass: bool
) -> None:
    for asked in (
        request("Read", tmp_path, file_path="a"),
        request("Bash", tmp_path, command="rm a"),
    ):
        asked.bypass = bypass
        ruling = policy(rules_file, ANYTHING, NOTHING, built_in=(EDITING,)).decide(asked)
        assert ruling is not None
        assert (ruling.allowed, ruling.by, ruling.rule) == (False, "rule", NOTHING.id)


def test_in_bypass_mode_the_rest_is_allowed_quietly(rules_file: Path, tmp_path: Path) -> None:
    asked = request("Bash", tmp_path, command="rm -r x; curl example.com")
    asked.bypass = True
    ruling = policy(rules_file).decide(asked)
    assert ruling is not None
    assert (ruling.allowed, ruling.by, ruling.quiet) == (True, "bypass", True)


def test_reading_inside_the_working_folder_is_allowed_by_the_built_in_rule(
    rules_file: Path, tmp_path: Path
) -> None:
    ruling = policy(rules_file).decide(request("Read", tmp_path, file_path="a"))
    assert ruling is not None
    assert (ruling.allowed, ruling.by, ruling.rule, ruling.quiet) == (
        True,
        "built_in",
        "rule_reading",
        True,
    )


def test_an_allow_rule_of_the_owner_is_named_before_a_built_in_one(
    rules_file: Path, tmp_path: Path
) -> None:
    ruling = policy(rules_file, ANYTHING).decide(request("Read", tmp_path, file_path="a"))
    assert ruling is not None
    assert (ruling.by, ruling.rule, ruling.quiet) == ("rule", ANYTHING.id, False)


def test_a_call_that_claude_code_insists_on_is_not_allowed_by_a_built_in_rule(
    rules_file: Path, tmp_path: Path
) -> None:
    asked = request("Write", tmp_path, file_path="a", content="x")
    assert policy(rules_file, built_in=(EDITING,)).decide(asked) is not None
    asked.insists = True
    assert policy(rules_file, built_in=(EDITING,)).decide(asked) is None
    assert policy(rules_file, ANYTHING).decide(asked) is not None


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("Bash", {"command": "maybe"}),  # it may touch a protected path
        ("AskUserQuestion", {"questions": []}),  # only a person can answer
    ],
)
def test_no_rule_allows_what_needs_a_person(
    rules_file: Path, tmp_path: Path, tool: str, given: dict[str, Any]
) -> None:
    assert policy(rules_file, ANYTHING).decide(request(tool, tmp_path, **given)) is None


def test_a_deny_rule_that_may_apply_leaves_the_decision_to_a_person(
    rules_file: Path, tmp_path: Path
) -> None:
    push = Rule(tool="Bash", command_prefix="git push", effect="deny")
    asked = request("Bash", tmp_path, command="cd x && git push")
    assert policy(rules_file, ANYTHING, push).decide(asked) is None
    assert policy(rules_file, ANYTHING, push).explain(asked)[0] == "ask"


def test_a_decision_is_explained_with_its_rule(rules_file: Path, tmp_path: Path) -> None:
    asked = request("Read", tmp_path, file_path="a")
    assert policy(rules_file).explain(asked) == (
        "allow",
        "allow reading inside the working folder",
        "rule_reading",
    )
    assert policy(rules_file, NOTHING).explain(asked) == ("deny", "deny *", NOTHING.id)
    assert policy(rules_file).explain(request("Bash", tmp_path, command="rm a"))[:2] == (
        "ask",
        "no rule covers it",
    )
    secret = request("Read", tmp_path, file_path="secret")
    assert policy(rules_file).explain(secret) == ("deny", "secret is protected", "")


@pytest.mark.parametrize("bypass", [False, True])
def test_a_call_that_must_be_asked_about_is_a_persons_though_everything_would_allow_it(
    rules_file: Path, tmp_path: Path, bypass: bool
) -> None:
    asked = request("Bash", tmp_path, command="ls")
    asked.must_ask = True
    asked.bypass = bypass
    assert policy(rules_file, ANYTHING).decide(asked) is None
    denied = policy(rules_file, NOTHING).decide(asked)
    assert denied is not None
    assert not denied.allowed
