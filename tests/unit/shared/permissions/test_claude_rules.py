"""Rules keep their meaning on the way to Claude Code and back, or are refused."""

from __future__ import annotations

import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.claude_rules import read_allowed_tools
from shared.permissions.rules import judge, read_rule
from shared.runtime.errors import ClientError


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("Bash", ["allow Bash"]),
        ("Bash(*)", ["allow Bash"]),
        ("Bash(git status:*)", ["allow Bash: git status …"]),
        ("Bash(git status *)", ["allow Bash: git status …"]),
        ("Bash(make test)", ["allow Bash: exactly make test"]),
        ("Write", ["allow Write"]),
        ("Write(//srv/a/**)", ["allow Write: under /srv/a"]),
        ("Write(~/a)", ["allow Write: under ~/a"]),
        ("WebFetch(domain:example.com)", ["allow WebFetch: at example.com"]),
        ("WebFetch(domain:*.example.com)", ["allow WebFetch: at *.example.com"]),
        ("mcp__db__read", ["allow mcp__db__read"]),
        ("mcp__db", ["allow mcp__db__*"]),
        ("mcp__db__*", ["allow mcp__db__*"]),
        (
            "Read(//srv/**)",
            [
                "allow Read: under /srv",
                "allow Grep: under /srv",
                "allow Glob: under /srv",
                "allow LS: under /srv",
            ],
        ),
        (
            " Edit(//srv/**) ",
            [
                "allow Write: under /srv",
                "allow Edit: under /srv",
                "allow MultiEdit: under /srv",
                "allow NotebookEdit: under /srv",
            ],
        ),
    ],
)
def test_an_allowed_tool_becomes_allow_rules(entry: str, words: list[str]) -> None:
    assert [rule.describe() for rule in read_allowed_tools([entry])] == words


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("", "an entry is"),
        ("Bash(git", "an entry is"),
        ("Bash git", "an entry is"),
        ("*", "an entry is"),
        ("Bash(git * main)", "at the end only"),
        ("Bash(git:*:*)", "at the end only"),
        ("Bash(a; b:*)", "one plain command"),
        ("Bash()", "one plain command"),
        ("Read(src/**)", "//absolute"),
        ("Read(/src/**)", "//absolute"),
        ("Read(//src/*)", "only a final"),
        ("Read(//src/../x/**)", "without"),
        ("WebFetch(url:x)", "takes no such condition"),
        ("WebFetch(domain:ex ample)", "plain name"),
        ("Task(explorer)", "takes no such condition"),
        ("mcp__db__read(x)", "takes no such condition"),
    ],
)
def test_an_entry_that_is_no_rule_is_refused_by_name(entry: str, why: str) -> None:
    with pytest.raises(ClientError, match=why) as refused:
        read_allowed_tools(["Bash", entry])
    assert repr(entry) in refused.value.message
    assert refused.value.message.startswith("CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS: ")


def test_a_deny_rule_still_beats_an_allowed_tool() -> None:
    rules = [
        *read_allowed_tools(["Bash(git:*)"]),
        read_rule({"tool": "Bash", "effect": "deny", "command": "git push"}),
    ]
    assert judge(PermissionRequest("p", "Bash", {"command": "git push"}), rules).outcome == "deny"
    assert (
        judge(PermissionRequest("p", "Bash", {"command": "git status"}), rules).outcome == "allow"
    )
