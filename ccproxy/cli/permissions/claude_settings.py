"""`ccproxy permissions import` and `export --claude`: rules from settings files of Claude Code, and
rules for them.

Invariant: no rule is added before all of them were shown. What restricts is added first, so a stop
in the middle leaves less allowed, never more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED, USAGE
from ccproxy.cli.output import show_json, show_table
from shared.accounts.claude import claude_home
from shared.permissions.claude_export import export_rules
from shared.permissions.claude_import import (
    ORDER,
    ImportedEntry,
    SettingsSource,
    other_settings,
    read_permissions,
    withhold_doubtful,
)
from shared.permissions.rules import Rule, read_rule
from shared.permissions.rules_text import check_profile_name
from shared.runtime.errors import ClientError
from shared.settings.problems import ConfigurationError

Ask = Callable[..., dict[str, Any]]

PROJECT_FILES = (".claude/settings.json", ".claude/settings.local.json")
NO_FILE = "There is no settings file of Claude Code here: name one."
NO_TERMINAL = "Nothing was added: there is no terminal to ask at; add --yes to add the rules."
BUILT_IN_HERE = "it is built in here, and Claude Code has defaults of its own"
NOT_THE_SAME = (
    "Claude Code knows no protected paths, and asks nobody else about what these entries allow; "
    "see docs/how-to/permissions.md."
)


def import_settings(files: list[Path], into: str | None, ask: Ask, *, yes: bool) -> int:
    """Add the rules of settings files, to the profile `into` if one is named, and return the exit
    code. `ask` asks the gateway. Raises ConfigurationError, Unanswered.
    """
    paths = files or usual_files()
    if not paths:
        say(NO_FILE)
        return USAGE
    # Claude Code joins all settings, so those that are not imported may restrict these.
    others = [path for path in usual_files() if path.absolute() not in map(Path.absolute, paths)]
    entries = withhold_doubtful(read_settings_files(paths), read_settings_files(others, quiet=True))
    known = known_ids(ask)
    rules = _in_profile([rule for entry in entries for rule in entry.rules], into)
    new = {rule.id: rule for rule in rules if rule.id not in known}
    show_table(["LIST", "ENTRY", "BECOMES", "FROM"], entry_rows(entries, known, into))
    left_out = sum(not entry.rules for entry in entries)
    say(f"{len(new)} rule(s) to add; {left_out} entr{'y' if left_out == 1 else 'ies'} left out.")
    if not new:
        return DONE
    if not yes and not sys.stdin.isatty():
        say(NO_TERMINAL)
        return USAGE
    if not yes and not typer.confirm("Add them?", err=True):
        return FAILED
    for rule in sorted(new.values(), key=lambda rule: ORDER.index(rule.effect)):
        ask("POST", "/permissions/rules", json=rule.model_dump(exclude_none=True))
    say(f"Added: {len(new)} rule(s).")
    return DONE


def usual_files() -> list[Path]:
    """Return the settings files of the user and of this folder that are there."""
    own = claude_home(os.environ) / "settings.json"
    paths = [own, *(Path.cwd() / name for name in PROJECT_FILES)]
    # In the home folder both are the same file.
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def read_settings_files(paths: Iterable[Path], *, quiet: bool = False) -> list[ImportedEntry]:
    """Return the entries of settings files, and name what is no entry unless `quiet`. Raises
    ConfigurationError.
    """
    entries: list[ImportedEntry] = []
    for path in paths:
        try:
            settings = json.loads(path.read_text())
            entries += read_permissions(settings, source_of(path))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}.") from error
        except ClientError as error:
            raise ConfigurationError(error.message) from error
        names = other_settings(settings)
        if names and not quiet:
            say(f"{path}: not taken, because they are no rules: {', '.join(names)}.")
    return entries


def source_of(path: Path) -> SettingsSource:
    """Return the place of a settings file: of a project if the file is in the project's
    `.claude`.
    """
    whole = path.absolute()
    is_own = whole.parent == claude_home(os.environ).absolute()
    project = str(whole.parent.parent) if whole.parent.name == ".claude" and not is_own else ""
    return SettingsSource(str(path), str(Path.home()), project)


def known_ids(ask: Ask) -> frozenset[str]:
    """Return the ids of the rules in force and of those in profiles."""
    in_force = ask("GET", "/permissions/rules")["rules"]
    profiles = ask("GET", "/permissions/profiles")["profiles"]
    of_profiles = [rule for profile in profiles for rule in profile["rules"]]
    return frozenset(rule["id"] for rule in [*in_force, *of_profiles])


def entry_rows(
    entries: Iterable[ImportedEntry], known: frozenset[str], into: str | None
) -> list[list[str]]:
    """Return what becomes of each entry, as rows of a table."""
    rows = []
    seen: set[str] = set()
    for entry in entries:
        for rule in _in_profile(entry.rules, into):
            again = rule.id in known or rule.id in seen
            seen.add(rule.id)
            what = f"(there already) {rule.describe()}" if again else rule.describe()
            rows.append([entry.effect, entry.entry, what, entry.source])
        if entry.problem:
            word = "partly" if entry.rules else "left out"
            rows.append([entry.effect, entry.entry, f"({word}) {entry.problem}", entry.source])
    return rows


def _in_profile(rules: Iterable[Rule], into: str | None) -> list[Rule]:
    """Return `rules` as rules of the profile `into`. Raises ConfigurationError."""
    if into is None:
        return list(rules)
    try:
        name = check_profile_name(into)
    except ClientError as error:
        raise ConfigurationError(error.message) from error
    return [rule.model_copy(update={"profile": name}) for rule in rules]


def export_settings(rows: Iterable[dict[str, Any]]) -> None:
    """Print the rules in `rows` (`GET /permissions/rules`) as the permissions of Claude Code, and
    name what is left out on the standard error.
    """
    rules: list[Rule] = []
    for row in rows:
        if "tool" in row:
            fields = {name: row[name] for name in Rule.model_fields if name in row}
            rules.append(read_rule(fields))
        else:
            say(f"Left out: {row['text']}: {BUILT_IN_HERE}.")
    exported = export_rules(rules)
    for rule, reason in exported.left_out:
        say(f"Left out: {rule.describe()}: {reason}.")
    if exported.entries["allow"]:
        say(NOT_THE_SAME)
    show_json({"permissions": exported.entries})
