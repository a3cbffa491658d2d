"""Rules from the permissions in a settings file of Claude Code (`allow`, `ask`, `deny`). Pure.

Invariants: an allow rule covers the same calls as its entry or fewer, and is taken only when no
`deny` or `ask` entry that could not be taken whole may concern them. A rule from a project's file
is for agents that work in that project. Nothing is left out without a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from shared.permissions.claude_rules import (
    EDITORS,
    READERS,
    NotExpressible,
    plain_pattern,
    read_condition,
    split_entry,
)
from shared.permissions.commands import simple_command
from shared.permissions.paths import normalised
from shared.permissions.programs import (
    FILE_WRITING_PROGRAMS,
    FOLDER_WALKERS,
    READING_PROGRAMS,
)
from shared.permissions.rules import Effect, Rule, never_matches, read_rule
from shared.permissions.tools import COMMAND_TOOL, FOLDER_READERS, PATH_FIELDS
from shared.runtime.errors import ClientError

# The entries that a path can follow; with any other tool Claude Code never looks at the path.
PATH_ENTRIES = {"Read": READERS, "Edit": EDITORS}
# Commands that Claude Code may take for the reading or writing of a file, and more.
FILE_COMMANDS = (
    READING_PROGRAMS
    | FILE_WRITING_PROGRAMS.keys()
    | FOLDER_WALKERS
    | {"awk", "chmod", "chown", "cp", "dd", "ln", "mv", "rm", "rmdir", "sed", "sort", "tee", "uniq"}
)
ORDER: tuple[Effect, ...] = ("deny", "ask", "allow")  # what restricts is added first


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The place of a settings file: `name` for people, `project` the folder that the settings are
    for (empty: every folder), `home` the home folder of the file's user.
    """

    name: str
    home: str
    project: str = ""


@dataclass(frozen=True, slots=True)
class ImportedEntry:
    """An entry and the entry's rules. `problem` says why there are no rules, or names the part that
    the rules leave out.
    """

    effect: Effect
    entry: str
    source: str
    rules: tuple[Rule, ...] = ()
    problem: str = ""

    @property
    def is_taken_whole(self) -> bool:
        return bool(self.rules) and not self.problem


def read_permissions(settings: Any, source: SettingsSource) -> list[ImportedEntry]:
    """Return the entries of `permissions` in a settings file, with their rules. Raises ClientError
    for a file of another form.
    """
    if not isinstance(settings, dict):
        raise ClientError(f"{source.name}: expected a JSON object.")
    block = settings.get("permissions", {})
    if not isinstance(block, dict):
        raise ClientError(f"{source.name}: permissions: expected an object.")
    found = []
    for effect in ORDER:
        entries = block.get(effect, [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise ClientError(f"{source.name}: permissions.{effect}: expected a list of texts.")
        found += [_read_entry(effect, entry, source) for entry in entries]
    return found


def other_settings(settings: dict[str, Any]) -> list[str]:
    """Return the names of the entries of `permissions` that hold no rules."""
    block = settings.get("permissions", {})
    return sorted(f"permissions.{name}" for name in set(block) - set(get_args(Effect)))


def withhold_doubtful(
    entries: Iterable[ImportedEntry], others: Iterable[ImportedEntry] = ()
) -> list[ImportedEntry]:
    """Return `entries` without the rules of allow entries that a `deny` or `ask` entry would have
    restricted in Claude Code, and does not restrict here. `others` are the entries of settings that
    are not imported, so no entry of `others` restricts here.
    """
    known = list(entries)
    missing = [replace(other, rules=()) for other in others]
    restricting = [entry for entry in (*known, *missing) if entry.effect != "allow"]
    return [_withheld(entry, restricting) if entry.effect == "allow" else entry for entry in known]


def _withheld(allowed: ImportedEntry, restricting: list[ImportedEntry]) -> ImportedEntry:
    for other in restricting:
        if any(_may_escape(rule, other) for rule in allowed.rules):
            why = f"`{other.entry}` of `{other.effect}` may restrict it there, and would not here"
            return replace(allowed, rules=(), problem=why)
    return allowed


def _read_entry(effect: Effect, entry: str, source: SettingsSource) -> ImportedEntry:
    found = ImportedEntry(effect, entry, source.name)
    bound = {"working_folder": source.project} if source.project else {}
    try:
        shapes, left_out = _read_shapes(effect, entry, source)
        rules = [read_rule({"effect": effect, **shape, **bound}) for shape in shapes]
    except (NotExpressible, ClientError) as error:
        return replace(
            found, problem=error.message if isinstance(error, ClientError) else str(error)
        )
    # A rule that never applies would look like a permission, or like a protection, that is none.
    useless = next((why for rule in rules if (why := never_matches(rule))), None)
    if useless is not None:
        return replace(found, problem=useless)
    return replace(found, rules=tuple(rules), problem=left_out)


def _read_shapes(
    effect: Effect, entry: str, source: SettingsSource
) -> tuple[list[dict[str, str]], str]:
    """Return the rules of an entry as fields, and a sentence on the part that the rules leave out.
    Raises NotExpressible.
    """
    tool, what = split_entry(entry)
    has_path = tool in PATH_FIELDS or tool in FOLDER_READERS
    if what is not None and has_path:
        if tool not in PATH_ENTRIES:
            raise NotExpressible(
                "Claude Code looks at paths of `Read(…)` and `Edit(…)` only, so this entry does "
                "nothing there either"
            )
        path, left_out = _resolved(what, source)
        tools = PATH_ENTRIES[tool]
        # An allow rule may be for fewer files than the entry.
        return [
            {"tool": name, "under": path} for name in tools
        ], left_out if effect != "allow" else ""
    # `Read` alone is for every tool that reads: to be sure, a restriction is for all of them.
    tools = PATH_ENTRIES.get(tool, (tool,)) if effect != "allow" else (tool,)
    condition = read_condition(tool, what)
    return [{"tool": name, **condition} for name in tools], ""


def _resolved(what: str, source: SettingsSource) -> tuple[str, str]:
    """Return the absolute path of a pattern, and a sentence on the paths that the absolute path
    leaves out. Raises NotExpressible.
    """
    path = plain_pattern(what)
    if path.startswith("//"):
        return normalised(path), ""
    if path.startswith("~/"):
        return normalised(f"{source.home}/{path[2:]}"), ""
    if not source.project:
        raise NotExpressible(
            "the path is relative to the folder in which Claude Code was started; write it as "
            "`//absolute/folder/**` or `~/folder/**`"
        )
    inside = path.removeprefix("./").strip("/")
    if ".." in inside.split("/"):
        raise NotExpressible("the path leads out of the project")
    # As in a .gitignore, a name without a slash stands for every file of that name below.
    anywhere = "/" not in path.removesuffix("/") and not what.endswith("/**")
    left_out = (
        f"taken for {source.project}/{inside} alone; SECURITY__PROTECTED_PATHS={inside} covers the "
        "name in every folder"
        if anywhere or path.startswith("./")
        else ""
    )
    return normalised(f"{source.project}/{inside}"), left_out


def _may_escape(rule: Rule, other: ImportedEntry) -> bool:
    """Return True when Claude Code may apply the restricting entry `other` to a call allowed by
    `rule`, and the rules of `other` may not apply to the call.
    """
    try:
        tool, what = split_entry(other.entry)
    except NotExpressible:
        return True  # an entry that is not understood may be about anything
    if rule.tool == COMMAND_TOOL and tool in PATH_ENTRIES:
        # Claude Code applies these to commands that read and write files, rules here do not.
        words = _words_of(rule)
        return not words or words[0] in FILE_COMMANDS
    if other.is_taken_whole:
        return False
    names = {tool, *PATH_ENTRIES.get(tool, ())}
    if not any(_same_tool(rule.tool, name) for name in names):
        return False
    if tool != COMMAND_TOOL or what is None or not _words_of(rule):
        return True
    # Different programs: only a wildcard in the first word could stand for both.
    first = what.split(":")[0].split(" ")[0]
    return "*" in first or first == _words_of(rule)[0]


def _words_of(rule: Rule) -> list[str]:
    return simple_command(rule.command or rule.command_prefix or "") or []


def _same_tool(one: str, other: str) -> bool:
    """Return True when two names of tools, perhaps with a `*` at the end, may mean the same."""
    if one.endswith("*") or other.endswith("*"):
        start = one.rstrip("*")
        other_start = other.rstrip("*")
        return start.startswith(other_start) or other_start.startswith(start)
    return one == other
