"""Permission rules in the syntax of Claude Code: deny rules that go there, allow rules that come from there."""

from __future__ import annotations

from collections.abc import Iterable

from shared.permissions.rules import Rule


def as_claude_deny(rules: Iterable[Rule]) -> list[str]:
    """Return the deny rules among `rules` that `permissions.deny` of Claude Code can express for everybody."""
    del rules
    return []


def read_allowed_tools(entries: Iterable[str]) -> list[Rule]:
    """Return the entries of `CODE_OPTIONS__ALLOWED_TOOLS` as allow rules.

    Raises ClientError naming the first entry that cannot be expressed as a rule.
    """
    del entries
    return []
