"""News as sentences."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.cli.permissions.feed import FeedEvent
from ccproxy.cli.permissions.news import idle_status, sentence_of

HERE: dict[str, Any] = {"away": False, "until": None, "window": "", "asks": "away"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"kind": "done", "program": "Codex", "machine": "laptop", "folder": "/w", "text": ""},
            "Codex is done (on laptop, /w).",
        ),
        (
            {"kind": "waits", "program": "Claude Code", "text": "Claude needs you"},
            "Claude Code waits for you: Claude needs you",
        ),
        ({"kind": "waits"}, "An agent waits for you."),
        ({"kind": "failed", "program": "helper"}, "helper has failed."),
    ],
)
def test_a_notice_is_said(data: dict[str, Any], words: str) -> None:
    assert sentence_of(FeedEvent("notice", data)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [("It resets soon.", "Claude fails. It resets soon."), ("", "Claude fails.")],
)
def test_an_alert_is_its_title_and_its_text(text: str, words: str) -> None:
    assert sentence_of(FeedEvent("alert", {"title": "Claude fails", "text": text})) == words


def test_the_presence_is_said_with_the_key_that_switches_it() -> None:
    assert sentence_of(FeedEvent("presence", HERE | {"away": True})).startswith("Away: ")
    assert idle_status(None, None) == "Waiting for prompts."
    assert "At the desk" in idle_status(HERE, None)
    assert "Away: hooks wait" in idle_status(HERE | {"away": True}, None)


def test_the_profiles_in_force_are_said_with_the_key_that_switches_them() -> None:
    night = {"name": "night", "in_force": True}
    assert idle_status(None, {"profiles": [night, night | {"in_force": False}]}).endswith(
        "Profiles: night (p: switch)."
    )
    assert "Profiles: none" in idle_status(None, {"profiles": []})
    switched = FeedEvent("profiles", {"in_force": ["night"], "by": "owner"})
    assert sentence_of(switched) == "Profiles in force: night (by owner)."
