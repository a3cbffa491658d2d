"""The built-in profiles decide as their sentences promise."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.built_in_profiles import PROFILE_TEXTS, built_in_profiles
from shared.bus.channels import PermissionRequest
from shared.permissions.rules import judge, rule_problems
from shared.permissions.rules_text import rules_of


@pytest.mark.parametrize("name", PROFILE_TEXTS)
def test_every_built_in_profile_says_what_it_is_for_and_no_rule_of_it_is_useless(name: str) -> None:
    profile = built_in_profiles()[name]
    assert profile.about.endswith(".")
    assert rule_problems(profile.rules) == []


@pytest.mark.parametrize(
    ("name", "tool", "given", "outcome"),
    [
        ("coding", "Bash", {"command": "git status"}, "allow"),
        ("coding", "Bash", {"command": "git push"}, "ask"),
        ("read-only", "Write", {"file_path": "/w/a", "content": ""}, "deny"),
        ("read-only", "Bash", {"command": "ls"}, "deny"),
        ("read-only", "mcp__db__query", {}, "deny"),
        ("read-only", "apply_patch", {"command": "x"}, "deny"),
        ("read-only", "Read", {"file_path": "/w/a"}, "ask"),
        ("night", "Bash", {"command": "git push origin"}, "deny"),
        ("night", "WebFetch", {"url": "https://example.com"}, "deny"),
    ],
)
def test_a_built_in_profile_decides(
    name: str, tool: str, given: dict[str, Any], outcome: str
) -> None:
    rules = rules_of([built_in_profiles()[name]])
    call = PermissionRequest("p", tool, given, working_directory="/w")
    assert judge(call, rules).outcome == outcome
