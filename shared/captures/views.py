"""Views of a text: the text without the escapes of JSON, or the joined pieces of a stream, with the
way back to the places in the text.

A secret is found in a view, and removed at its places in the text. So JSON in JSON is read at each
depth, and a secret that arrived in three events is one secret.

Invariant: the places of a part of a view lie inside JSON strings of the text, and no place begins
or ends inside an escape.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

Span = tuple[int, int]

# A string of JSON; the last one of a body that was cut has no end.
STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)', re.DOTALL)
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
DATA_LINE = re.compile(r"(?:\A|(?<=[\r\n]))data:[ ]?([^\r\n]*)")
TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
MOST_DEPTH = 4  # JSON in JSON in JSON: a tool call in a transcript in a prompt
# Numbers and ids that say which of several texts of a stream an event continues.
TELLING = frozenset({"index", "output_index", "content_index", "summary_index", "item_id"})
# Texts that every event repeats; joined they would mean nothing.
REPEATED = frozenset(
    {
        *("type", "id", "object", "model", "role", "item_id", "call_id", "name", "status"),
        *("obfuscation", "system_fingerprint", "service_tier", "created", "event"),
        *("stop_reason", "finish_reason"),
    }
)


@dataclass(slots=True)
class View:
    """A text made of segments. Segment `i` begins at `starts[i]`, and stands for `places[i]` of the
    text below; a segment with another length than its place is a single unescaped character.
    """

    text: str
    starts: list[int]
    places: list[Span]

    def spans(self, start: int, end: int) -> list[Span]:
        """Return the places of the part from `start` to `end`, neighbours as one place."""
        if start >= end:
            return []
        found: list[Span] = []
        at = bisect_right(self.starts, start) - 1
        while at < len(self.starts) and self.starts[at] < end:
            first, last = self.places[at]
            begins = self.starts[at]
            ends = self.starts[at + 1] if at + 1 < len(self.starts) else len(self.text)
            if ends - begins == last - first:
                last = first + min(end, ends) - begins
                first += max(start, begins) - begins
            if found and found[-1][1] == first:
                found[-1] = (found[-1][0], last)
            elif first < last:
                found.append((first, last))
            at += 1
        return found


def joined_view(text: str, places: list[Span]) -> View:
    """Return the view of the parts of `text` at `places`, joined in order."""
    starts: list[int] = []
    size = 0
    for first, last in places:
        starts.append(size)
        size += last - first
    return View("".join(text[first:last] for first, last in places), starts, places)


def unescaped(text: str) -> View | None:
    """Return the view of `text` with JSON's escapes resolved; None for a text without escapes."""
    if "\\" not in text:
        return None
    pieces: list[str] = []
    starts: list[int] = []
    places: list[Span] = []
    done = size = 0

    def add(piece: str, first: int, last: int) -> None:
        nonlocal size
        if piece:
            pieces.append(piece)
            starts.append(size)
            places.append((first, last))
            size += len(piece)

    for escape in ESCAPE.finditer(text):
        add(text[done : escape.start()], done, escape.start())
        code, letter = escape.groups()
        char = chr(int(code, 16)) if code else PLAIN.get(letter, letter)
        add(char, escape.start(), escape.end())
        done = escape.end()
    add(text[done:], done, len(text))
    return View("".join(pieces), starts, places) if pieces else None


def depths(text: str) -> Iterator[tuple[str, list[View]]]:
    """Yield every view of `text` below the surface, with the chain of views back to `text`, deepest
    view first.
    """
    chain: list[View] = []
    for _ in range(MOST_DEPTH):
        below = unescaped(text)
        if below is None or below.text == text:
            return
        chain = [below, *chain]
        text = below.text
        yield text, chain


def places_below(chain: list[View], start: int, end: int) -> list[Span]:
    """Return the places, in the text at the end of `chain`, of a part of the text at its begin."""
    spans = [(start, end)]
    for view in chain:
        spans = [place for span in spans for place in view.spans(*span)]
    return spans


@dataclass(slots=True)
class _Level:
    """An object or a list, open while a document is read. `name` is the last member's."""

    is_object: bool
    name: str | None = None
    place: int = 0
    told: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Leaf:
    """A string of a document: its place, and the levels around it with their names at that time."""

    span: Span
    levels: list[_Level]
    names: list[str | int | None]

    def key(self) -> tuple[object, ...]:
        """Return the key common to all pieces of a text in the events of a stream."""
        return tuple(
            # The place in a list says nothing where the entries number themselves.
            None
            if not level.is_object and _numbers_itself(self.levels, at)
            else (name, *level.told)
            for at, (level, name) in enumerate(zip(self.levels, self.names, strict=True))
        )


def _numbers_itself(levels: list[_Level], at: int) -> bool:
    return at + 1 < len(levels) and bool(levels[at + 1].told)


def leaves_of(text: str, start: int, end: int) -> Iterator[_Leaf]:
    """Yield the strings of the JSON document at `start`; the keys are final after the last string.

    A document that is no JSON yields what can be read of it.
    """
    levels: list[_Level] = []
    for token in TOKEN.finditer(text, start, end):
        piece = token[0]
        level = levels[-1] if levels else None
        if piece in "{[":
            levels.append(_Level(piece == "{"))
        elif piece in "}]":
            if levels:
                levels.pop()
        elif level is None or piece == ":":
            continue
        elif piece == ",":
            level.name = None
            level.place += 1
        elif level.is_object and level.name is None:
            level.name = text[slice(*token.span(1))] if piece[0] == '"' else piece
        else:
            if level.name in TELLING:
                level.told.append(piece)
            if piece[0] == '"':
                names = [each.name if each.is_object else each.place for each in levels]
                yield _Leaf(token.span(1), list(levels), names)


def texts_of_stream(text: str) -> list[View]:
    """Return the texts spelled out together by the events of a stream, as views of `text`."""
    found: dict[tuple[object, ...], list[Span]] = {}
    for line in DATA_LINE.finditer(text):
        for leaf in list(leaves_of(text, *line.span(1))):
            if leaf.names and leaf.names[-1] not in REPEATED:
                found.setdefault(leaf.key(), []).append(leaf.span)
    return [joined_view(text, places) for places in found.values() if len(places) > 1]
