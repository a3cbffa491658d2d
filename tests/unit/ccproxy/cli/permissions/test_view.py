"""The card fits the screen; what it hides is counted, and the keys are always there."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from ccproxy.cli.permissions.rows import body_rows
from ccproxy.cli.permissions.view import (
    LOOKING_BACK,
    Card,
    Surroundings,
    confirmation,
    draw_card,
    past_in_words,
    question_rows,
    shortened,
    time_left,
)
from ccproxy.cli.permissions.waiting import WaitingRequest
from shared.permissions.presented import (
    Block,
    LabelledText,
    Presentation,
    PresentedOption,
    PresentedQuestion,
    RememberChoice,
)

NOW = 1_000.0
REMEMBER = [
    RememberChoice(
        "session", "In this session: ls …", "For a day, in this session, allow every ls."
    ),
    RememberChoice("always", "Always: ls …", "From now on, allow every ls."),
]


def prompt(command: str = "ls", **fields: Any) -> WaitingRequest:
    asker = [LabelledText("Caller", "alice"), LabelledText("Session", "s1")]
    shown = Presentation(
        "Run a command", "Bash ls", asker, blocks=[Block("Command", "command", command)]
    )
    known: dict[str, Any] = {"is_question": False, "expires_at": NOW + 90, "presentation": shown}
    return WaitingRequest("a", {"command": command}, **known | fields)


def card(
    asked: WaitingRequest, width: int = 80, height: int = 24, **around: Any
) -> tuple[Card, str]:
    known: dict[str, Any] = {"place": 1, "count": 1, "now": NOW, "ask": "", "problem": ""}
    made = draw_card(
        asked,
        body_rows(asked.shown, width - 4),
        Surroundings(**known | around, width=width, height=height),
    )
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(made.drawn)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return made, text


@pytest.mark.parametrize(("width", "height"), [(40, 24), (80, 24), (80, 12), (200, 50)])
@pytest.mark.parametrize("command", ["ls", "x" * 5_000, "x\n" * 500])
def test_it_fits_its_screen_and_says_who_what_and_how_long(
    width: int, height: int, command: str
) -> None:
    _, text = card(prompt(command), width, height)
    lines = text.splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    for words in (
        "Run a command",
        "caller alice",
        "1 of 1",
        "1:30 left",
        "allow once",
        "deny",
        "quit",
    ):
        assert words in text


def test_the_end_of_a_long_command_is_on_the_screen_and_the_hidden_rows_are_counted() -> None:
    made, text = card(prompt("echo " + "a" * 5_000 + "; rm -rf ~/Documents"))
    assert "; rm -rf ~/Documents" in "".join(line.strip("│ ") for line in text.splitlines())
    assert "rows hidden (v: show all)" in text
    assert not made.end_shown


def test_a_short_command_is_seen_at_once() -> None:
    assert card(prompt("ls"))[0].end_shown


def test_the_window_scrolls_to_the_end_and_not_beyond() -> None:
    asked = prompt("\n".join(str(number) for number in range(100)), whole=True)
    made, text = card(asked)
    assert "rows 1 to" in text
    assert not made.end_shown
    asked.top = 1_000
    made, text = card(asked)
    assert made.end_shown
    assert "│ 99 " in text
    assert "of 101" in text


def test_the_time_left_is_told_to_the_second() -> None:
    assert [time_left(prompt(expires_at=NOW + left), NOW) for left in (300, 61, 9, -5)] == [
        "5:00 left",
        "1:01 left",
        "0:09 left",
        "0:00 left",
    ]
    assert time_left(prompt(expires_at=None), NOW) == "no limit"


def test_answers_for_the_future_are_offered_and_confirmed_with_their_scope() -> None:
    asked = prompt()
    asked.presentation = Presentation("t", "s", remember=REMEMBER)
    text = card(asked)[1]
    assert "allow in this session…" in text
    assert "always allow…" in text
    assert (
        "For a day, in this session, allow every ls."
        in card(asked, ask=confirmation(REMEMBER[0], LOOKING_BACK))[1]
    )
    assert "session" not in card(prompt(presentation=Presentation("t", "s")))[1]


def test_what_cannot_be_shown_cannot_be_allowed() -> None:
    text = card(prompt(presentation=Presentation("t", "s", complete=False)))[1]
    assert "allow once" not in text
    assert "deny" in text


def test_a_question_shows_its_choices_and_cannot_just_be_allowed() -> None:
    question = PresentedQuestion(
        0, "Which?", [PresentedOption(0, "this", "the first"), PresentedOption(1, "that")]
    )
    rows = [row.plain for row in question_rows(question, [], 80)]
    assert rows == ["Which?", "", " 1  this  the first", " 2  that"]
    several = PresentedQuestion(
        0, "Which?", [PresentedOption(0, "this"), PresentedOption(1, "that")], multiple=True
    )
    assert [row.plain for row in question_rows(several, [1], 80)][2:] == [
        " 1  [ ] this",
        " 2  [x] that",
    ]
    asked = prompt(is_question=True, presentation=Presentation("t", "s", questions=[question]))
    asked.input = {
        "questions": [{"question": "Which?", "options": [{"label": "this"}, {"label": "that"}]}]
    }
    text = card(asked)[1]
    assert "allow" not in text
    assert "choose" in text


def test_a_title_keeps_its_ends() -> None:
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abc", 7) == "abc"
    assert Text(shortened("漢" * 10, 5)).cell_len <= 10


def test_the_past_of_a_rule_is_a_count_and_examples() -> None:
    examples = [{"text": "git log", "outcome": "denied"}]
    preview = {"days": 30.0, "count": 7, "examples": examples}
    assert past_in_words(preview) == (
        "In the last 30 days the rule would have allowed 7 calls more:\n  git log (denied)"
    )
    assert "0 calls more." in past_in_words(preview | {"count": 0, "examples": []})
    assert "cannot be looked at" in past_in_words(None)
