"""Rules keep their meaning on the way to Claude Code and back, or are refused."""

from __future__ import annotations

from shared.permissions.claude_rules import as_claude_deny, read_allowed_tools


def test_no_rules_become_no_rules() -> None:
    assert as_claude_deny([]) == []
    assert read_allowed_tools([]) == []
