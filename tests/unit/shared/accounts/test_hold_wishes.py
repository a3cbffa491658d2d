from __future__ import annotations

import math

import pytest

from shared.accounts.hold_wishes import hold_seconds, usable_hold


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("until-reset", math.inf),
        (" Until-Reset ", math.inf),
        ("no", 0),
        ("", 0),
        ("90s", 90),
        ("30m", 1800),
        ("1.5h", 5400),
        ("7d", 7 * 86_400),
    ],
)
def test_a_wish_to_be_held_is_a_longest_wait(text: str, seconds: float) -> None:
    assert hold_seconds(text) == seconds


@pytest.mark.parametrize("text", ["forever", "0m", "0s", "-5m", "5", "s", "1.5s", "5w", "inf"])
def test_any_other_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write until-reset, no, or the longest wait as 90s"):
        hold_seconds(text)


def test_a_token_keeps_a_wish_in_one_spelling_and_no_wish_as_an_empty_text() -> None:
    assert usable_hold(" 30M ") == "30m"
    assert usable_hold("no") == ""
