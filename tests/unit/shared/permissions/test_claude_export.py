"""Rules become entries of Claude Code that allow no more and restrict no less, or none."""

from __future__ import annotations

from typing import Any

import pytest

from shared.permissions.claude_export import export_rules
from shared.permissions.claude_import import SettingsSource, read_permissions
from shared.permissions.claude_rules import EDITORS, READERS
from shared.permissions.rules import Rule, read_rule


def rule(tool: str = "Bash", **fields: Any) -> Rule:
    return read_rule({"tool": tool, **fields})


@pytest.mark.parametrize(
    ("exported", "entries"),
    [
        (rule(command="npm test"), ["Bash(npm test)"]),
        (rule(command_prefix="git status"), ["Bash(git status:*)"]),
        (rule(), ["Bash"]),
        (rule(effect="deny", command_prefix="git push"), ["Bash(git push:*)"]),
        (rule("WebFetch", host="*.example.com"), ["WebFetch(domain:*.example.com)"]),
        (rule("WebSearch"), ["WebSearch"]),
        (rule("mcp__db__*"), ["mcp__db__*"]),
        (rule("Glob", effect="deny", under="/srv/a/"), ["Read(//srv/a)", "Read(//srv/a/**)"]),
        (rule("Write", effect="ask", under="~/a"), ["Edit(~/a)", "Edit(~/a/**)"]),
        (rule("Write", effect="deny"), ["Write"]),
    ],
    ids=lambda value: value.describe() if isinstance(value, Rule) else "",
)
def test_a_rule_becomes_entries_in_the_list_of_its_effect(
    exported: Rule, entries: list[str]
) -> None:
    found = export_rules([exported])
    assert found.entries[exported.effect] == entries
    assert found.left_out == []


@pytest.mark.parametrize(
    ("exported", "why"),
    [
        (rule(command="make", scope="caller", caller="a"), "not for every session"),
        (rule(command="make", working_folder="/srv"), "one project"),
        (rule("apply_patch", effect="deny"), "Codex"),
        (rule("mcp__*", effect="deny"), "one MCP server"),
        (rule("*", effect="deny"), "one MCP server"),
        (rule(command_prefix="cat", under="/srv"), "no folder and no host"),
        (rule(command="ls *.py"), "another way"),
        (rule(command="echo 'a b'"), "another way"),
        (rule(command_prefix="git  status"), "another way"),
        (rule("Read", under="/srv"), "also for Glob, Grep, LS"),
        (rule("Edit"), "also for MultiEdit, NotebookEdit, Write"),
        (rule("Task", under="/srv"), "no folder for Task"),
        (rule("Read", effect="deny", under="/srv/a[1]"), "wildcards in the folder"),
        (rule("WebFetch", effect="deny", host="a.b", under="/srv"), "only WebFetch"),
    ],
    ids=lambda value: value.describe() if isinstance(value, Rule) else "",
)
def test_a_rule_that_no_entry_expresses_is_left_out_with_the_reason(
    exported: Rule, why: str
) -> None:
    found = export_rules([exported])
    assert found.entries == {"allow": [], "ask": [], "deny": []}
    ((left_out, reason),) = found.left_out
    assert left_out == exported
    assert why in reason


def test_every_command_is_not_allowed_beside_rules_that_restrict_some() -> None:
    push = rule(effect="ask", command_prefix="git push")
    found = export_rules([rule(), push])
    assert found.entries == {"allow": [], "ask": ["Bash(git push:*)"], "deny": []}


def test_the_tools_of_a_group_together_become_one_entry_and_come_back_the_same() -> None:
    rules = [rule(tool, under="/srv/a") for tool in (*READERS, *EDITORS)]
    found = export_rules(rules)
    assert found.entries["allow"] == ["Read(//srv/a/**)", "Edit(//srv/a/**)"]
    entries = read_permissions({"permissions": found.entries}, SettingsSource("x", "/users/me"))
    assert [known for entry in entries for known in entry.rules] == rules
