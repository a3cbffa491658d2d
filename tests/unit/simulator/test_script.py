from __future__ import annotations

from simulator.directives import read_directives
from simulator.script import NAME, characters, echo, parts, tokens_of, words


def test_a_name_may_end_in_numbers() -> None:
    found = NAME.fullmatch("slow-20x200")
    assert found
    assert found.group("name", "first", "second") == ("slow", "20", "200")
    assert NAME.fullmatch("429-30")
    assert not NAME.fullmatch("Slow")


def test_tokens_are_rounded_up() -> None:
    assert [tokens_of(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_filler_has_the_size_asked_for() -> None:
    assert words(12).split()[10:] == ["one", "two"]
    assert len(characters(10_001)) == 10_001


def test_pieces_put_together_are_the_text() -> None:
    text = "a  few words\nhere"
    assert "".join(parts(text, 0)) == text
    assert parts(text, 0) == ["a ", " ", "few ", "words\n", "here"]
    assert parts("abcde", 2) == ["ab", "cd", "e"]


def test_an_echo_quotes_results_then_says_what_it_was_told() -> None:
    told = read_directives("[[say:done]]")
    assert echo("p", told, ["42"], b"") == "The tool answered: 42\ndone"


def test_an_echo_shows_every_secret_it_was_shown_once() -> None:
    raw = b"SECRET-a SECRET-b SECRET-a"
    assert echo("hi", read_directives(""), [], raw) == "You said: hi\nSeen: SECRET-a SECRET-b"
