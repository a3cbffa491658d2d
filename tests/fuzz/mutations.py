"""Replies of providers with something wrong in them: a valid stream or body, and a seed that says
what becomes odd.

A mutated stream is what a broken provider, or a proxy before it, might send: fields of another
type, events out of order, JSON that ends too early, every spelling of an event stream. The same
seed always makes the same bytes.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.formats.sse import events_in
from simulator.spelling import SPELLINGS, respell

Json = dict[str, Any]
Path = tuple[str | int, ...]

NESTED = {"<500 levels>": 500, "<3000 levels>": 3000}
"""Texts that stand for so many nested arrays until the JSON is written: Python's own writer has
a limit of levels."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 1.5, 2**31, 2**63, 10**30, float("nan"), float("inf"),
    "", "many", "\ud800", "a\udc00b", "NaN", [], [1], [None], [[]], {}, {"a": 1}, {"type": None},
    {"type": "unheard_of"}, *NESTED,
)  # fmt: skip
BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Sent:
    """One event of a stream. `raw` is its data where that is no JSON any more."""

    name: str
    payload: Any
    raw: bytes | None = None

    @property
    def data(self) -> bytes:
        return written(self.payload) if self.raw is None else self.raw


def written(document: Any) -> bytes:
    """Return `document` as JSON, with NaN and halves of surrogate pairs as they would come over the
    wire.
    """
    text = json.dumps(document)
    for name, levels in NESTED.items():
        text = text.replace(json.dumps(name), "[" * levels + "]" * levels)
    return text.encode()


def read_stream(data: bytes) -> list[Sent]:
    return [Sent(event.name or "", json.loads(event.data)) for event in events_in(data)]


# --- what becomes odd inside an event or a body ---


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of everything inside `value`, of objects and arrays as well as of plain
    values.
    """
    if path:
        yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, item in inner:
        yield from paths_in(item, (*path, name))


def mutate_value(document: Any, chance: random.Random) -> Any:
    """Return a copy of `document` in which one field is missing, is there twice, or has an odd
    value.
    """
    changed = json.loads(json.dumps(document))
    paths = list(paths_in(changed))
    if not paths:
        return chance.choice(ODD_VALUES)
    *way, last = chance.choice(paths)
    place = changed
    for step in way:
        place = place[step]
    if chance.random() < 0.25:
        del place[last]
    elif isinstance(place[last], str) and chance.random() < 0.2:
        place[last] = place[last][:1] + "\udfff" + place[last][1:]
    else:
        place[last] = chance.choice(ODD_VALUES)
    return changed


# --- what becomes odd in a stream ---

Mutation = Callable[[list[Sent], random.Random], list[Sent]]


def change_field(stream: list[Sent], chance: random.Random) -> list[Sent]:
    at = chance.randrange(len(stream))
    changed = Sent(stream[at].name, mutate_value(stream[at].payload, chance))
    return [*stream[:at], changed, *stream[at + 1 :]]


def replace_payload(stream: list[Sent], chance: random.Random) -> list[Sent]:
    at = chance.randrange(len(stream))
    return [*stream[:at], Sent(stream[at].name, chance.choice(ODD_VALUES)), *stream[at + 1 :]]


def drop_event(stream: list[Sent], chance: random.Random) -> list[Sent]:
    """Leave out an event: often the first or the last, without which a stream has no start or no
    end.
    """
    at = chance.choice([0, len(stream) - 1, chance.randrange(len(stream))])
    return [*stream[:at], *stream[at + 1 :]]


def repeat_event(stream: list[Sent], chance: random.Random) -> list[Sent]:
    at, place = chance.randrange(len(stream)), chance.randrange(len(stream) + 1)
    return [*stream[:place], stream[at], *stream[place:]]


def swap_events(stream: list[Sent], chance: random.Random) -> list[Sent]:
    first, second = chance.randrange(len(stream)), chance.randrange(len(stream))
    swapped = list(stream)
    swapped[first], swapped[second] = stream[second], stream[first]
    return swapped


def rename_event(stream: list[Sent], chance: random.Random) -> list[Sent]:
    """Give an event a name nobody knows, in its `event:` line, in its `type`, or in both."""
    at = chance.randrange(len(stream))
    name, payload = stream[at].name, stream[at].payload
    if chance.random() < 0.7 and isinstance(payload, dict):
        payload = payload | {"type": "unheard.of"}
    if chance.random() < 0.5:
        name = "unheard.of"
    return [*stream[:at], Sent(name, payload), *stream[at + 1 :]]


def rename_kind(stream: list[Sent], chance: random.Random) -> list[Sent]:
    """Give the block, item, part or delta of one event a type nobody knows."""
    places = [
        (at, path)
        for at, sent in enumerate(stream)
        for path in paths_in(sent.payload)
        if len(path) > 1 and path[-1] == "type"
    ]
    if not places:
        return stream
    at, path = chance.choice(places)
    changed = json.loads(json.dumps(stream[at].payload))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place["type"] = chance.choice(["unheard_of", None, 3, ["text"], {}])
    return [*stream[:at], Sent(stream[at].name, changed), *stream[at + 1 :]]


def spoil_json(stream: list[Sent], chance: random.Random) -> list[Sent]:
    """Put something that is no JSON into one event, or cut its JSON short."""
    at = chance.randrange(len(stream))
    data = stream[at].data
    cut = data[: chance.randrange(len(data))]
    raw = chance.choice(
        [
            cut,
            cut,
            b"",
            b"   ",
            b"[DONE]",
            b"<html>",
            data + b"}",
            b"\xff\xfe" + data,
            data[:-1] + b",}",
        ]
    )
    return [*stream[:at], Sent(stream[at].name, None, raw), *stream[at + 1 :]]


MUTATIONS: tuple[Mutation, ...] = (
    change_field, change_field, change_field, change_field, replace_payload, drop_event,
    repeat_event, swap_events, rename_event, rename_kind, spoil_json,
)  # fmt: skip


def mutate_stream(stream: list[Sent], chance: random.Random) -> bytes:
    """Return the bytes of `stream` with one to three mutations, in one of the spellings of an event
    stream.
    """
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        stream = chance.choice(MUTATIONS)(stream, chance) or stream
    spelling = chance.choice([None, None, None, *range(len(SPELLINGS))])
    data = b"".join(encoded(sent, spelling) for sent in stream)
    if chance.random() < 0.05:
        data = BOM + data
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data) + 1)]
    if chance.random() < 0.05:
        data += chance.choice([b"\n", b": bye\n\n", b"data: [DONE]\n\n", b"data", b"event: ping\n"])
    return data


def encoded(sent: Sent, spelling: int | None) -> bytes:
    """Return the bytes of an event. The spelling over several lines needs JSON that can be read."""
    frame = b"event: %b\ndata: %b\n\n" % (sent.name.encode(), sent.data)
    is_plain = sent.raw is None and b"[[[[" not in sent.data
    return frame if spelling is None or not is_plain else respell(frame, spelling)


def mutate_body(body: Any, chance: random.Random) -> bytes:
    """Return the bytes of a whole reply or an error's body in which something is odd."""
    if chance.random() < 0.1:
        return (
            written(body)[: chance.randrange(20)]
            if chance.random() < 0.5
            else written(chance.choice(ODD_VALUES))
        )
    for _ in range(chance.choice([1, 1, 2])):
        body = mutate_value(body, chance)
    return written(body)


def cut_anywhere(data: bytes, chance: random.Random) -> list[bytes]:
    """Return `data` in up to six pieces, as a network may bring them."""
    places = sorted(
        {0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))}
    )
    return [data[start:end] for start, end in itertools.pairwise(places)]
