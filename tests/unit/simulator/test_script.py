"""What every simulated model says alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from simulator.directives import read_directives
from simulator.script import NAME, Ask, Part, characters, echo, perform, pieces, text_tokens, words

LOOK, STOP = {"name": "look", "input_schema": {"required": ["at"]}}, {"name": "stop"}


@dataclass(slots=True)
class PlainAsk(Ask):
    """A provider with the plainest parts."""

    tools = {"look": LOOK, "stop": STOP}  # noqa: RUF012
    forced: list[Any] = ()  # type: ignore[assignment]
    parallel = True
    schema = None

    def say(self, text: str, *, aside: bool = False) -> Part:
        return {"aside" if aside else "said": text}

    def think(self) -> Part:
        return {"thought": ""}

    def call(self, tool: dict[str, Any], arguments: dict[str, Any]) -> Part:
        return {tool["name"]: arguments}


def asked(text: str, *results: str, raw: bytes = b"") -> PlainAsk:
    return PlainAsk({}, raw, prompt=text, directives=read_directives(text), results=list(results))


def said(ask: Ask, name: str) -> list[Part]:
    reply = perform(ask, name, {}, {})
    assert reply
    return reply.parts


def test_a_name_may_end_in_numbers() -> None:
    found = NAME.fullmatch("slow-20x200")
    assert found
    assert found.group("name", "first", "second") == ("slow", "20", "200")
    assert NAME.fullmatch("429-30")
    assert not NAME.fullmatch("Slow")


def test_tokens_are_rounded_up() -> None:
    assert [text_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_filler_has_the_size_asked_for() -> None:
    assert words(12).split()[10:] == ["one", "two"]
    assert len(characters(10_001)) == 10_001


def test_pieces_put_together_are_the_text() -> None:
    text = "a  few words\nhere"
    assert "".join(pieces(text, 0)) == text
    assert pieces(text, 0) == ["a ", " ", "few ", "words\n", "here"]
    assert pieces("abcde", 2) == ["ab", "cd", "e"]


def test_an_echo_quotes_results_then_says_what_it_was_told() -> None:
    assert echo(asked("[[say:done]]", "42")) == "The tool answered: 42\ndone"


def test_an_echo_shows_every_secret_it_was_shown_once() -> None:
    assert (
        echo(asked("hi", raw=b"SECRET-a SECRET-b SECRET-a"))
        == "You said: hi\nSeen: SECRET-a SECRET-b"
    )


@pytest.mark.parametrize(
    ("prompt", "name", "parts"),
    [
        ("hi", "text", [{"said": "You said: hi"}]),
        ("[[scenario:long-2]]", "text", [{"said": "one two"}]),
        ("[[tool:stop]] [[tool:ghost]]", "text", [{"stop": {}}]),
        (
            "hi",
            "tools-3",
            [
                {"aside": "Let me look."},
                {"look": {"at": "text"}},
                {"stop": {}},
                {"look": {"at": "text"}},
            ],
        ),
        ("hi", "empty", []),
    ],
)
def test_a_scenario_says_its_part(prompt: str, name: str, parts: list[Part]) -> None:
    assert said(asked(prompt), name) == parts


def test_numbers_shape_a_scenario() -> None:
    slow, cut = (perform(asked("hi"), name, {}, {}) for name in ("slow-7x3", "cut-9"))
    assert slow
    assert cut
    assert (slow.pace, slow.parts) == (0.007, [{"said": "one two three"}])
    assert (cut.fault, cut.fault_after) == ("cut", 9)


def test_an_unknown_name_plays_nothing_and_a_refusal_is_raised() -> None:
    assert perform(asked("hi"), "nonsense", {}, {}) is None
    assert perform(asked("hi"), "long-", {}, {}) is None
    with pytest.raises(ValueError, match="30"):
        perform(asked("hi"), "429-30", {}, {"429": lambda seconds: ValueError(str(seconds))})
