"""Permission rules in the syntax of Claude Code: deny rules that go there, allow rules that come
from there.

A deny rule is handed over only when Claude Code reads the same, or a little more, from it; every
deny rule binds here as well, so leaving one out weakens nothing. An allow rule is taken only when
ours covers the same or less.

Claude Code writes an absolute path as `//path`, applies `Read(…)` to all its tools that read files,
and `Edit(…)` to all that edit them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from shared.permissions.commands import simple_command
from shared.permissions.paths import normalised
from shared.permissions.rules import Rule, read_rule
from shared.permissions.tools import (
    COMMAND_TOOL,
    FILE_WRITERS,
    FOLDER_READERS,
    PATH_FIELDS,
    URL_TOOL,
)
from shared.runtime.errors import ClientError

SETTING = "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS"
ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*(?:__\*)?)(?:\((.*)\))?")
# Characters with a meaning in the patterns of Claude Code.
PATTERN_SYNTAX = frozenset("*?[]{}!()\\#")
READERS = ("Read", *FOLDER_READERS)
EDITORS = tuple(FILE_WRITERS)


def as_claude_deny(rules: Iterable[Rule]) -> list[str]:
    """Return the deny rules for everybody that fit `permissions.deny` of Claude Code."""
    found: list[str] = []
    for rule in rules:
        if rule.effect == "deny" and rule.scope == "always":
            found += _as_claude_entries(rule)
    return list(dict.fromkeys(found))


def _as_claude_entries(rule: Rule) -> list[str]:
    conditions = [rule.command, rule.command_prefix, rule.under, rule.host]
    if all(condition is None for condition in conditions):
        return _as_claude_tool(rule.tool)
    if sum(condition is not None for condition in conditions) > 1:
        return []
    if rule.under is not None:
        return _as_claude_folder(rule.tool, rule.under)
    if rule.host is not None:
        plain = rule.tool in {URL_TOOL, "*"} and not rule.host.startswith("*")
        return [f"{URL_TOOL}(domain:{rule.host.lower()})"] if plain else []
    command = rule.command or rule.command_prefix or ""
    # Claude Code compares texts, not words: quotes and wildcards would mean something else there.
    if (
        rule.tool not in {COMMAND_TOOL, "*"}
        or simple_command(command) != command.split()
        or "*" in command
    ):
        return []
    return [f"{COMMAND_TOOL}({command})" if rule.command else f"{COMMAND_TOOL}({command}:*)"]


def _as_claude_tool(tool: str) -> list[str]:
    server = re.fullmatch(r"(mcp__[A-Za-z0-9_-]+?)__\*", tool)
    if server:
        return [server.group(1)]
    return [] if tool.endswith("*") else [tool]


def _as_claude_folder(tool: str, folder: str) -> list[str]:
    path = normalised(os.path.expanduser(folder))
    if PATTERN_SYNTAX & set(path) or path == "/":
        return []
    names = {"Read": ["Read"], "Edit": ["Edit"], "*": ["Read", "Edit"]}.get(tool, [])
    return [f"{name}(/{path}{below})" for name in names for below in ("", "/**")]


def read_allowed_tools(entries: Iterable[str]) -> list[Rule]:
    """Return the entries of `CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS` as allow rules.

    Raises ClientError naming the first entry that cannot be expressed as a rule, and what to write
    instead.
    """
    return [rule for entry in entries for rule in _read_entry(entry)]


def _read_entry(entry: str) -> list[Rule]:
    found = ENTRY.fullmatch(entry.strip())
    if found is None:
        raise _refused(entry, "an entry is `Tool` or `Tool(what)`")
    tool = found.group(1)
    what = found.group(2)
    if re.fullmatch(r"mcp__[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*", tool):
        tool += "__*"  # all tools of one server
    if what is None or what == "*":
        return [_made(entry, {"tool": tool})]
    if tool == COMMAND_TOOL:
        return [_made(entry, {"tool": tool, **_read_command_pattern(entry, what)})]
    if tool == URL_TOOL and what.startswith("domain:"):
        return [_made(entry, {"tool": tool, "host": what.removeprefix("domain:")})]
    if tool in PATH_FIELDS or tool in FOLDER_READERS:
        folder = _read_path_pattern(entry, what)
        tools = {"Read": READERS, "Edit": EDITORS}.get(tool, (tool,))
        return [_made(entry, {"tool": name, "under": folder}) for name in tools]
    raise _refused(
        entry, f"{tool} takes no such condition here; name the tool alone, or answer its requests"
    )


def _read_command_pattern(entry: str, what: str) -> dict[str, str]:
    for ending in (":*", " *"):
        if what.endswith(ending) and "*" not in what.removesuffix(ending):
            return {"command_prefix": what.removesuffix(ending)}
    if "*" in what:
        raise _refused(entry, "a `*` may stand at the end only, as in `Bash(git status:*)`")
    return {"command": what}


def _read_path_pattern(entry: str, what: str) -> str:
    folder = what.removesuffix("/**")
    if PATTERN_SYNTAX & set(folder):
        raise _refused(entry, "of the wildcards only a final `/**` is understood")
    if folder.startswith("//"):
        return folder[1:]
    if folder.startswith("~/"):
        return folder
    raise _refused(entry, "write the path as `//absolute/folder/**` or `~/folder/**`")


def _made(entry: str, shape: dict[str, Any]) -> Rule:
    try:
        return read_rule(shape)
    except ClientError as error:
        raise _refused(entry, error.message) from error


def _refused(entry: str, why: str) -> ClientError:
    return ClientError(f"{SETTING}: {entry!r} cannot be a permission rule: {why}.")
