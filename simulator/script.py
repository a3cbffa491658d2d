"""What every simulated model says alike: the grammar of scenario names, its filler words, its echo.

A name may end in one or two numbers (`slow-50`, `long-2000`, `slow-20x200`).
"""

from __future__ import annotations

import re

from simulator.directives import Directives

BYTES_PER_TOKEN = 4
ECHOED_CHARACTERS = 2_000
NAME = re.compile(r"(?P<name>\d{3}|[a-z]+(?:-[a-z]+)*)(?:-(?P<first>\d+)(?:x(?P<second>\d+))?)?")
MARKER = re.compile(rb"SECRET-[A-Za-z0-9]+")
WORD = re.compile(r"\S*\s?")
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def tokens_of(size: int) -> int:
    """Tokens without a tokenizer: one for every four bytes, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def words(count: int) -> str:
    return " ".join(WORDS[place % len(WORDS)] for place in range(count))


def characters(size: int) -> str:
    return (words(size // 4 + 1) + " ")[:size]


def parts(text: str, piece: int) -> list[str]:
    """The text in pieces of that many characters; 0: word by word."""
    if piece:
        return [text[start : start + piece] for start in range(0, len(text), piece)]
    return [part for part in WORD.findall(text) if part]


def echo(prompt: str, directives: Directives, results: list[str], raw: bytes) -> str:
    """The tools' results, the text the model was told to say, or the prompt; and every SECRET word found anywhere in
    the request, which makes a leak between conversations visible."""
    lines = [f"The tool answered: {result}" for result in results]
    if directives.say:
        lines.append(directives.say)
    elif not results:
        lines.append(f"You said: {prompt[:ECHOED_CHARACTERS]}")
    if secrets := dict.fromkeys(word.decode() for word in MARKER.findall(raw)):
        lines.append("Seen: " + " ".join(secrets))
    return "\n".join(lines)
