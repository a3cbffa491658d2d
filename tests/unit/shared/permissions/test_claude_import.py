"""Entries of Claude Code become rules that allow no more and restrict no less, or none."""

from __future__ import annotations

from typing import Any

import pytest

from shared.permissions.claude_import import (
    ImportedEntry,
    SettingsSource,
    other_settings,
    read_permissions,
    withhold_doubtful,
)
from shared.runtime.errors import ClientError

USER = SettingsSource("settings.json", "/users/me")
PROJECT = SettingsSource(".claude/settings.json", "/users/me", "/srv/app")
IN_APP = ", for agents working in /srv/app"


def imported(effect: str, entry: str, source: SettingsSource = USER) -> ImportedEntry:
    (found,) = read_permissions({"permissions": {effect: [entry]}}, source)
    return found


def words(entry: ImportedEntry) -> list[str]:
    return [rule.describe() for rule in entry.rules]


@pytest.mark.parametrize(
    ("effect", "entry", "becomes"),
    [
        ("allow", "Bash(npm test:*)", ["allow Bash: npm test …"]),
        ("deny", "Bash(git push *)", ["deny Bash: git push …"]),
        ("ask", "Bash(git push:*)", ["ask a person about Bash: git push …"]),
        ("allow", "WebFetch(domain:example.com)", ["allow WebFetch: at example.com"]),
        ("deny", "mcp__db", ["deny mcp__db__*"]),
        ("allow", "Read", ["allow Read"]),
        ("deny", "Read", ["deny Read", "deny Grep", "deny Glob", "deny LS"]),
        (
            "deny",
            "Edit(~/notes/**)",
            [
                f"deny {tool}: under /users/me/notes"
                for tool in ("Write", "Edit", "MultiEdit", "NotebookEdit")
            ],
        ),
    ],
)
def test_an_entry_of_the_user_becomes_rules(effect: str, entry: str, becomes: list[str]) -> None:
    assert words(imported(effect, entry)) == becomes
    assert imported(effect, entry).is_taken_whole


@pytest.mark.parametrize(
    ("effect", "entry", "first"),
    [
        ("allow", "Bash(npm test)", f"allow Bash: exactly npm test{IN_APP}"),
        ("allow", "Edit(/src/**)", f"allow Write: under /srv/app/src{IN_APP}"),
        ("allow", "Edit(docs/**)", f"allow Write: under /srv/app/docs{IN_APP}"),
        ("allow", "Read(./.env)", f"allow Read: under /srv/app/.env{IN_APP}"),
        ("deny", "Read(//etc/**)", f"deny Read: under /etc{IN_APP}"),
    ],
)
def test_an_entry_of_a_project_is_for_agents_that_work_there(
    effect: str, entry: str, first: str
) -> None:
    found = imported(effect, entry, PROJECT)
    assert words(found)[0] == first
    assert found.problem == ""


@pytest.mark.parametrize(
    ("effect", "entry", "source", "why"),
    [
        ("allow", "Bash(ls*)", USER, "at the end only"),
        ("deny", "Bash(git * main)", USER, "at the end only"),
        ("allow", "Bash(a && b)", USER, "one plain command"),
        ("allow", "Edit(src/**)", USER, "relative to the folder"),
        ("allow", "Edit(/src/**)", USER, "relative to the folder"),
        ("allow", "Edit(../x/**)", PROJECT, "leads out"),
        ("deny", "Read(**/*.pem)", PROJECT, "final"),
        ("allow", "Write(//srv/**)", USER, "looks at paths of"),
        ("deny", "Glob(//srv/**)", USER, "looks at paths of"),
        ("allow", "Agent(Explore)", USER, "takes no such condition"),
        ("allow", "Bash(", USER, "an entry is"),
    ],
)
def test_an_entry_that_no_rule_expresses_is_left_out_with_the_reason(
    effect: str, entry: str, source: SettingsSource, why: str
) -> None:
    found = imported(effect, entry, source)
    assert found.rules == ()
    assert why in found.problem


def test_a_name_denied_in_every_folder_is_taken_in_part_and_the_rest_is_named() -> None:
    for entry in ("Read(.env)", "Read(./.env)"):
        found = imported("deny", entry, PROJECT)
        assert words(found)[0] == f"deny Read: under /srv/app/.env{IN_APP}"
        assert "SECURITY__PROTECTED_PATHS=.env" in found.problem
        assert not found.is_taken_whole


@pytest.mark.parametrize(
    ("allowed", "effect", "restricting", "taken"),
    [
        # Taken whole, so it binds here as well.
        ("Bash(git:*)", "ask", "Bash(git push:*)", True),
        ("Bash", "deny", "Bash(rm:*)", True),
        # Not expressed here: the same program is withheld, another one is not.
        ("Bash(git:*)", "deny", "Bash(git * main)", False),
        ("Bash", "deny", "Bash(git * main)", False),
        ("Bash(npm test)", "deny", "Bash(git * main)", True),
        ("Bash(npm test)", "deny", "Bash(* --force)", False),
        ("Read(//srv/**)", "deny", "Read(**/*.pem)", False),
        ("Edit(//srv/**)", "deny", "Read(**/*.pem)", True),
        ("mcp__db__*", "deny", "mcp__db__drop(x)", False),
        ("mcp__db__read", "deny", "mcp__web__get(x)", True),
        ("WebSearch", "deny", "(((", False),
        # Claude Code applies these to commands that read files, rules here do not.
        ("Bash(cat:*)", "deny", "Read(//srv/keys/**)", False),
        ("Bash", "ask", "Edit(//srv/keys/**)", False),
        ("Bash(npm test)", "deny", "Read(//srv/keys/**)", True),
    ],
)
def test_an_allow_entry_is_withheld_if_what_restricts_it_would_be_lost(
    allowed: str, effect: str, restricting: str, taken: bool
) -> None:
    settings = {"permissions": {"allow": [allowed], effect: [restricting]}}
    found = withhold_doubtful(read_permissions(settings, USER))
    entry = next(entry for entry in found if entry.effect == "allow")
    assert bool(entry.rules) is taken
    assert taken or restricting in entry.problem


def test_settings_that_are_not_imported_restrict_too() -> None:
    allowed = read_permissions({"permissions": {"allow": ["Bash(git:*)", "WebSearch"]}}, PROJECT)
    other = read_permissions({"permissions": {"ask": ["Bash(git push:*)"]}}, USER)
    git, search = withhold_doubtful(allowed, other)
    assert "git push" in git.problem
    assert search.is_taken_whole


@pytest.mark.parametrize(
    "settings",
    [[], {"permissions": []}, {"permissions": {"allow": "Bash"}}, {"permissions": {"deny": [5]}}],
    ids=str,
)
def test_a_file_of_another_form_is_refused(settings: Any) -> None:
    with pytest.raises(ClientError, match=r"settings\.json"):
        read_permissions(settings, USER)


def test_settings_that_hold_no_rules_are_named() -> None:
    block = {"allow": [], "defaultMode": "acceptEdits", "additionalDirectories": []}
    assert other_settings({"permissions": block}) == [
        "permissions.additionalDirectories",
        "permissions.defaultMode",
    ]
    assert other_settings({}) == []
