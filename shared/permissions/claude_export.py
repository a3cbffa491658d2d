"""Rules as the permissions of a settings file of Claude Code (`allow`, `ask`, `deny`). Pure.

Invariants: an allow entry covers the same commands, files and hosts as its rules or fewer. A deny
or ask entry covers what its rule certainly covers, or more. A rule that no entry expresses so is
left out with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.permissions.claude_rules import EDITORS, PATTERN_SYNTAX, READERS, NotExpressible
from shared.permissions.commands import simple_command
from shared.permissions.patches import PATCH_TOOL
from shared.permissions.rules import Effect, Rule
from shared.permissions.tools import COMMAND_TOOL, URL_TOOL

# What an entry with a path is for, by the name that it bears.
GROUPS = {"Read": frozenset(READERS), "Edit": frozenset(EDITORS)}


@dataclass(slots=True)
class ExportedRules:
    """The entries for Claude Code, and the rules left out, with reasons."""

    entries: dict[Effect, list[str]] = field(
        default_factory=lambda: {"allow": [], "ask": [], "deny": []}
    )
    left_out: list[tuple[Rule, str]] = field(default_factory=list)


def export_rules(rules: Iterable[Rule]) -> ExportedRules:
    """Return `rules` as entries of Claude Code."""
    known = list(rules)
    exported = ExportedRules()
    for rule in known:
        try:
            entries = _entries_of(rule, known)
        except NotExpressible as reason:
            exported.left_out.append((rule, str(reason)))
            continue
        place = exported.entries[rule.effect]
        place += [entry for entry in entries if entry not in place]
    return exported


def _entries_of(rule: Rule, rules: list[Rule]) -> list[str]:
    """Return the entries for a rule. Raises NotExpressible."""
    _check_scope(rule)
    if rule.tool == COMMAND_TOOL:
        return [_command_entry(rule, rules)]
    if rule.command is not None or rule.command_prefix is not None:
        raise NotExpressible(f"{rule.tool} runs no command")
    if rule.host is not None:
        if rule.tool != URL_TOOL or rule.under is not None:
            raise NotExpressible("only WebFetch takes a host")
        return [f"{URL_TOOL}(domain:{rule.host})"]
    group = next((name for name, tools in GROUPS.items() if rule.tool in tools), None)
    if group is not None:
        return _file_entries(rule, group, rules)
    if rule.under is not None:
        raise NotExpressible(f"Claude Code takes no folder for {rule.tool}")
    return [rule.tool]


def _check_scope(rule: Rule) -> None:
    """Raise NotExpressible for a rule with a condition that no entry has."""
    if rule.scope != "always":
        raise NotExpressible("it is not for every session and caller")
    if rule.working_folder is not None:
        raise NotExpressible(
            "it is for one project; write it into the `.claude/settings.json` of that project"
        )
    if rule.tool == PATCH_TOOL:
        raise NotExpressible("it is a tool of Codex")
    whole_server = rule.tool.startswith("mcp__") and rule.tool.endswith("__*")
    if rule.tool.endswith("*") and (not whole_server or rule.tool == "mcp__*"):
        raise NotExpressible("Claude Code takes a `*` only for all tools of one MCP server")


def _command_entry(rule: Rule, rules: list[Rule]) -> str:
    if rule.under is not None or rule.host is not None:
        raise NotExpressible("Claude Code takes no folder and no host for commands")
    if rule.command is None and rule.command_prefix is None:
        if rule.effect == "allow" and _is_restricted(rule.tool, rules):
            raise NotExpressible(
                "other rules deny or ask about commands, and Claude Code finds fewer of these"
            )
        return COMMAND_TOOL
    if rule.command is not None and rule.command_prefix is not None:
        raise NotExpressible("it has both a command and its first words")
    text = (rule.command or rule.command_prefix or "").strip()
    # Claude Code compares the text, not the words.
    if PATTERN_SYNTAX & set(text) or simple_command(text) != text.split(" "):
        raise NotExpressible("Claude Code would read quotes, blanks or wildcards another way")
    return f"{COMMAND_TOOL}({text}:*)" if rule.command is None else f"{COMMAND_TOOL}({text})"


def _is_restricted(tool: str, rules: list[Rule]) -> bool:
    return any(rule.effect != "allow" and rule.tool in {tool, "*"} for rule in rules)


def _file_entries(rule: Rule, group: str, rules: list[Rule]) -> list[str]:
    """Return the entries for a rule of a tool that reads or edits files."""
    if rule.under is None and rule.tool != group:
        return [rule.tool]
    if rule.effect == "allow":
        # An entry is for the whole group, so it takes a rule for each tool of the group.
        same = {
            known.tool
            for known in rules
            if known.effect == "allow"
            and known.under == rule.under
            and (known.scope, known.working_folder) == ("always", None)
        }
        if missing := sorted(GROUPS[group] - same):
            raise NotExpressible(
                f"`{group}` of Claude Code is also for {', '.join(missing)}, and no rule allows "
                "these the same"
            )
    if rule.under is None:
        return [group]
    path = rule.under.rstrip("/")
    if PATTERN_SYNTAX & set(path):
        raise NotExpressible("Claude Code would read wildcards in the folder")
    written = path if path.startswith("~") else f"/{path}"
    # `under` can be a file too: a restriction names it with and without what is below.
    below = f"{group}({written}/**)"
    return [below] if rule.effect == "allow" else [f"{group}({written})", below]
