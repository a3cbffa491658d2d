"""A fuzz target: one function from bytes to nothing, which raises for a defect alone.

The function calls the product's own code, and takes the errors that the code documents for bytes
that are wrong. Every other exception is a find, and so is a law that does not hold.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Form = Literal["json", "stream", "lines"]
"""What the bytes behind the first two are: a document, an event stream, or a document on each line.
A search changes documents and events whole, and other bytes one by one.
"""


class LawBroken(AssertionError):
    """The code gave an answer that its law forbids."""


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes two bytes that choose, and the bytes that the product reads. `seeds` returns
    inputs from which a search starts.
    """

    name: str
    about: str
    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    form: Form = "json"


def hold(law: bool, words: str) -> None:
    """Raise LawBroken with `words` if the law does not hold."""
    if not law:
        raise LawBroken(words)


def chosen(data: bytes, choices: Sequence[T]) -> tuple[T, int, bytes]:
    """Return the choice of the first byte, the number in the second byte, and the rest."""
    return choices[data[0] % len(choices)], data[1], data[2:]


def seed(choice: int, body: Any, number: int = 7) -> bytes:
    """Return an input with `body`, bytes or a document, behind the two bytes that choose."""
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bytes([choice, number]) + written


def pieces_of(data: bytes, number: int) -> list[bytes]:
    """Return `data` in pieces; `number` decides where they are cut."""
    if number == 255:
        return [data[at : at + 1] for at in range(len(data))]
    step = 1 + number * 7 % 97
    places = [*range(number % step, len(data), step)]
    return [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def run(waiting: Awaitable[T]) -> T:
    """Return the result of a coroutine. Every coroutine runs in one event loop, which costs less
    than a loop for each.
    """
    return _loop().run_until_complete(waiting)
