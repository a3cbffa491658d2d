"""Changes of inputs for a search: of the bytes, of a JSON document, or of an event stream behind
the two bytes that choose.

A search that changes single bytes seldom gets past a JSON parser. These changes keep the document
readable, and take names and values from the seeds, so that known fields meet odd values.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.fuzz.mutations import (
    MUTATIONS,
    ODD_VALUES,
    Sent,
    encoded,
    mutate_value,
    paths_in,
    read_stream,
    written,
)
from tests.fuzz.targets.target import Form, Target

ChangeBytes = Callable[[bytes, random.Random], bytes]
MOST_CHANGES = 4
LONG = 2000


def words_in(document: Any) -> Iterator[Any]:
    """Yield every name and every plain value in `document`."""
    if isinstance(document, dict):
        yield from document
        for value in document.values():
            yield from words_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from words_in(value)
    else:
        yield document


def words_of(target: Target) -> list[Any]:
    """Return the names and plain values in the seeds of `target`, each once."""
    found: dict[str, Any] = {}
    for seed in target.seeds():
        for document in documents_in(seed[2:], target.form):
            found |= {json.dumps(word): word for word in words_in(document)}
    return list(found.values()) or ["word"]


def documents_in(body: bytes, form: Form) -> list[Any]:
    try:
        if form == "stream":
            return [sent.payload for sent in read_stream(body)]
        return (
            [json.loads(line) for line in body.split(b"\n")]
            if form == "lines"
            else [json.loads(body)]
        )
    except (ValueError, RecursionError):
        return []


class Changer:
    """Changes inputs of a target. `change_bytes` changes bytes without knowledge of their form."""

    def __init__(self, target: Target, change_bytes: ChangeBytes) -> None:
        self._form = target.form
        self._words = words_of(target)
        self._names = [word for word in self._words if isinstance(word, str)] or ["name"]
        self._change_bytes = change_bytes

    def change(self, data: bytes, chance: random.Random) -> bytes:
        """Return another input, the same for the same `data` and state of `chance`."""
        if len(data) < 3 or chance.random() < 0.4:
            return self._change_bytes(data, chance)
        head = data[:2]
        if chance.random() < 0.05:
            head = bytes([chance.randrange(256), chance.randrange(256)])
        try:
            return head + self._changed_body(data[2:], chance)
        except (ValueError, RecursionError, AttributeError, TypeError, IndexError, KeyError):
            return head + self._change_bytes(data[2:], chance)

    def _changed_body(self, body: bytes, chance: random.Random) -> bytes:
        if self._form == "lines" and b"\n" in body:
            return self._changed_lines(body.split(b"\n"), chance)
        # A target of streams takes whole bodies too.
        if self._form != "stream" or body.lstrip()[:1] == b"{":
            document = json.loads(body)
            for _ in range(chance.randint(1, MOST_CHANGES)):
                document = self._change_value(document, chance)
            return written(document)
        stream = read_stream(body)
        for _ in range(chance.randint(1, MOST_CHANGES)):
            if chance.random() < 0.5:
                stream = chance.choice(MUTATIONS)(stream, chance) or stream
            else:
                stream = self._change_event(stream, chance)
        spelling = chance.choice([None, None, None, None, 0, 1, 2])
        return b"".join(encoded(sent, spelling) for sent in stream)

    def _changed_lines(self, lines: list[bytes], chance: random.Random) -> bytes:
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randrange(len(lines) + 1), lines[at])
            case _:
                lines[at] = written(self._change_value(json.loads(lines[at]), chance))
        return b"\n".join(lines)

    def _change_event(self, stream: list[Sent], chance: random.Random) -> list[Sent]:
        at = chance.randrange(len(stream))
        payload = self._change_value(stream[at].payload, chance)
        return [*stream[:at], Sent(stream[at].name, payload), *stream[at + 1 :]]

    def _change_value(self, document: Any, chance: random.Random) -> Any:
        """Return `document` with one change."""
        if chance.random() < 0.4:
            return mutate_value(document, chance)
        changed = copy.deepcopy(document)
        paths = list(paths_in(changed))
        if not paths:
            return {chance.choice(self._names): self._value(changed, paths, chance)}
        *way, last = chance.choice(paths)
        holder = place_at(changed, way)
        inner = holder[last]
        value = self._value(changed, paths, chance)
        match chance.randrange(4):
            case 0 if isinstance(inner, dict):
                inner[chance.choice(self._names)] = value
            case 0 if isinstance(inner, list):
                inner.insert(chance.randrange(len(inner) + 1), value)
            case 1 if isinstance(inner, str):
                holder[last] = self._changed_text(inner, chance)
            case 2 if isinstance(inner, str) and isinstance(holder, dict):
                holder[chance.choice(self._names)] = holder.pop(last)
            case _:
                holder[last] = value
        return changed

    def _value(self, document: Any, paths: Iterable[Any], chance: random.Random) -> Any:
        known = list(paths)
        match chance.randrange(4):
            case 0:
                return chance.choice(self._words)
            case 1 if known:
                return copy.deepcopy(place_at(document, chance.choice(known)))
            case 2:
                return {chance.choice(self._names): chance.choice(self._words)}
        return chance.choice(ODD_VALUES)

    def _changed_text(self, text: str, chance: random.Random) -> str:
        at = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                return text[:at] + chance.choice(self._names) + text[at:]
            case 1:
                return text[:at] + chance.choice(ODD_LETTERS) + text[at:]
            case 2:
                return text[:at]
            case 3 if len(text) < 40:
                return (text[at:] or text) * (LONG // 40)
        other = text.encode("utf-8", "surrogatepass")
        return self._change_bytes(other, chance).decode("utf-8", "replace")


ODD_LETTERS = [
    *"\0\n\r\t\x1b\x7f\x85\u2028\u202e\ufeff\udc80\ud83d\u00e4\U0001f600'\"\\`$;&|<>(){}[]*?~!#%=:/., ",
    "..", "//", "&&", "$(", "${", "<<E", "~/", "\\\n", "𝟙", "ﬁ", "İ",
]  # fmt: skip


def place_at(document: Any, path: Iterable[Any]) -> Any:
    for step in path:
        document = document[step]
    return document


def change_some_bytes(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with some bytes changed, taken away or doubled."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, MOST_CHANGES)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at:at] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + chance.randint(1, 32)]
            case _:
                changed[at : at + 1] = chance.choice([b"\n", b"\r", b"\0", b'"', b"\xff", b"}"])
    return bytes(changed)
