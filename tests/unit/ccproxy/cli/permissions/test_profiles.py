"""The words of `ccproxy permissions profile`, and what it prints."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.cli.permissions.profiles import (
    PATH,
    ProfileRequest,
    profile_in_words,
    read_profile_words,
    rule_profile_rows,
    state_in_words,
)
from shared.settings.problems import ConfigurationError

STATE: dict[str, Any] = {
    "profiles": [
        {
            "name": "coding",
            "about": "Work.",
            "built_in": True,
            "accept_edits": True,
            "in_force": True,
            "rules": [{"id": "coding:rule_1", "text": "allow WebSearch, in the profile coding"}],
        },
        {
            "name": "night",
            "about": "",
            "built_in": False,
            "accept_edits": False,
            "in_force": False,
            "rules": [],
        },
    ],
    "active": ["coding"],
    "while_away": ["night"],
    "away": False,
    "by": "",
    "changed_at": "",
    "problem": "",
}


@pytest.mark.parametrize(
    ("words", "request_meant"),
    [
        ("", ProfileRequest()),
        ("list", ProfileRequest(listed=True)),
        ("show night", ProfileRequest(shown="night")),
        ("copy night", ProfileRequest(f"{PATH}/night/copy", {}, shown="night")),
        ("off", ProfileRequest(change={"active": []})),
        ("coding night", ProfileRequest(change={"active": ["coding", "night"]})),
        ("away night", ProfileRequest(change={"while_away": ["night"]})),
        ("away off", ProfileRequest(change={"while_away": []})),
    ],
)
def test_words_mean_a_question(words: str, request_meant: ProfileRequest) -> None:
    assert read_profile_words(words.split()) == request_meant


@pytest.mark.parametrize("words", ["away", "show", "copy", "Night", "coding off", "copy ../x"])
def test_words_that_mean_none_are_refused_with_the_forms(words: str) -> None:
    with pytest.raises(ConfigurationError, match="away NAME"):
        read_profile_words(words.split())


def test_the_state_is_said_in_sentences() -> None:
    assert state_in_words(STATE) == "In force: coding. While away: night."
    switched = STATE | {"by": "owner", "changed_at": "2026-11-29T20:00:00Z", "away": True}
    assert "While away (now): night. Last switched by owner, " in state_in_words(switched)


def test_profiles_are_listed_with_the_time_for_which_they_are() -> None:
    assert rule_profile_rows(STATE) == [
        ["coding", "yes", "2", "built in", "Work."],
        ["night", "while away", "0", "rules file", ""],
    ]


def test_a_profile_is_shown_with_its_rules() -> None:
    assert profile_in_words(STATE, "coding").splitlines() == [
        "coding (built in): Work.",
        "  allow reading and editing inside the working folder (accept_edits)",
        "  allow WebSearch, in the profile coding  coding:rule_1",
    ]
    assert profile_in_words(STATE, "night") == "night (in the rules file)"
    with pytest.raises(ConfigurationError, match="there are coding, night"):
        profile_in_words(STATE, "evening")
