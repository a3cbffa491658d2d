"""The text of a rules file is read whole or refused whole."""

from __future__ import annotations

import pytest

from shared.permissions.rules import Rule
from shared.permissions.rules_text import SwitchedProfiles, read_rules_text, rules_of
from shared.runtime.errors import ClientError

NIGHT = """
removed = ["rule_reading"]
[[rules]]
tool = "Read"
[profiles.night]
about = "Nobody is awake."
accept_edits = true
[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "git push"
[profiles.empty]
[active]
profiles = ["empty", "empty"]
while_away = ["night"]
by = "owner"
at = 2026-11-29T20:00:00Z
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[rules]]\ntool = 'Bash'\ncomand = 'ls'", "comand"),
        ("[[rules]]\ntool = 'Bash'\ncommand_prefix = 'ls; rm'", "one plain command"),
        ("[[rules]]\ntool = 'Read'\nunder = 'here'", "absolute"),
        ("[[rules]]\ntool = 'Read'\nscope = 'session'", "must name it"),
        ("[[rules]]\ntool = 'Read'\nscope = 'caller'", "must name it"),
        ("[[rules]]\neffect = 'allow'", "tool"),
        ("[[rule]]\ntool = 'Read'", "unknown entry 'rule'"),
        ("rules = 3", r"\[\[rules\]\]"),
        ("[[rules", "not valid TOML"),
        ("removed = 5", "removed is a list"),
        ("[[rules]]\ntool = 'Read'\nprofile = 'night'", r"\[\[profiles.NAME.rules\]\]"),
        ("profiles = 3", r"\[profiles.NAME\]"),
        ("[profiles.off]", "'off' is a word"),
        ("[profiles.Night]", "'Night' cannot be the name"),
        ("[profiles.night]\ncolour = 'red'", "unknown entry 'colour'"),
        ("[profiles.night]\nabout = 5", "about is a text"),
        ("[profiles.night]\naccept_edits = 'yes'", "true or false"),
        ("[profiles.night]\nrules = 3", r"\[\[profiles.night.rules\]\]"),
        ("[[profiles.night.rules]]\ntool = 'Read'\nscope = 'session'\nsession_id = 's'", "every"),
        ("active = ['night']", r"written as \[active\]"),
        ("[active]\nprofiles = 'night'", "expected a list"),
        ("[active]\nprofiles = ['../x']", "cannot be the name"),
        ("[active]\nnight = true", "unknown entry 'night'"),
        ("[active]\nby = 5", "name of a caller"),
        ("[active]\nat = 5", "is a time"),
    ],
)
def test_a_file_with_a_mistake_is_refused_whole(text: str, complaint: str) -> None:
    with pytest.raises(ClientError, match=complaint):
        read_rules_text(text)


def test_rules_are_read_and_told_in_words() -> None:
    (first, second) = read_rules_text(
        "[[rules]]\ntool = 'Bash'\ncommand_prefix = 'git "
        "status'\n[[rules]]\ntool='Write'\neffect='deny'\nunder='/etc'"
    ).rules
    assert first.describe() == "allow Bash: git status …"
    assert second.describe() == "deny Write: under /etc"
    assert first.id != second.id
    assert first.id == Rule(tool="Bash", command_prefix="git status").id


def test_profiles_and_the_choice_among_them_are_read() -> None:
    content = read_rules_text(NIGHT)
    night = content.profiles["night"]
    assert (night.about, night.accept_edits, content.removed) == (
        "Nobody is awake.",
        True,
        {"rule_reading"},
    )
    (push,) = rules_of([night, content.profiles["empty"]])
    assert push.describe() == "deny Bash: git push …, in the profile night"
    assert content.switched.at == "2026-11-29T20:00:00+00:00"
    assert [rule.tool for rule in content.rules] == ["Read"]


def test_a_profile_bound_to_away_is_in_force_while_away_only() -> None:
    switched = SwitchedProfiles(("coding",), ("night", "coding"))
    assert switched.names(away=False) == ("coding",)
    assert switched.names(away=True) == ("coding", "night")
