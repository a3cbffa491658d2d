"""The words of `ccproxy away`, and the state as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxy.cli.away import in_words, read_change, show_presence
from ccproxy.cli.exits import USAGE

HERE: dict[str, Any] = {"away": False, "until": None, "window": "", "asks": "away"}


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("on", {"state": "on"}),
        ("off", {"state": "off"}),
        ("for 2h", {"state": "for", "seconds": 7200}),
        ("for 1.5d", {"state": "for", "seconds": 129_600}),
        ("daily 22:00-07:00", {"state": "daily", "window": "22:00-07:00"}),
        ("daily off", {"state": "daily", "window": ""}),
        ("", None),
        ("for", None),
        ("for 2", None),
        ("on off", None),
    ],
)
def test_words_become_a_change(words: str, change: dict[str, Any] | None) -> None:
    assert read_change(words.split()) == change


def test_words_that_mean_nothing_are_refused_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show_presence(["for", "ever"], as_json=False) == USAGE
    assert "`for 2h`" in capsys.readouterr().err


def test_the_state_is_said_with_what_hooks_do() -> None:
    assert in_words(HERE) == "At the desk: Claude Code and Codex ask in their own terminals."
    away = HERE | {"away": True, "until": "2026-03-05T22:00:00+00:00", "window": "22:00-07:00"}
    assert in_words(away).startswith("Away until ")
    assert in_words(away).endswith("Away every day 22:00-07:00.")
    assert "while somebody watches" in in_words(HERE | {"asks": "watched"})
