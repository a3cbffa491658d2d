"""One thing made wrong at one place of a body: a value of another type, an unknown or a missing
field.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OTHER_VALUES: tuple[Any, ...] = (7, True, "unheard of", [7], {"a": 1}, None, 1.5)
UNKNOWN = "surprise"


@dataclass(frozen=True, slots=True)
class Holder:
    """An object or list inside a body. `path` has the type of each item of a list in its place, as
    in `messages.<user>.content.<text>`.
    """

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was made wrong, and how it is put right again."""

    path: str
    change: str
    undo: Callable[[], None]


def holders_in(body: Any, path: str = "") -> Iterator[Holder]:
    """Yield every object and list in a body, the body first."""
    if isinstance(body, (dict, list)) and body:
        yield Holder(path, body)
    if isinstance(body, dict):
        for name, value in body.items():
            yield from holders_in(value, f"{path}.{name}" if path else name)
    elif isinstance(body, list):
        for value in body:
            yield from holders_in(value, f"{path}.{kind_of(value)}")


def kind_of(item: Any) -> str:
    if isinstance(item, dict):
        return f"<{item.get('type') or item.get('role') or ''}>"
    return "<>"


def make_wrong(body: Any, chance: random.Random) -> Wrong:
    """Change `body` in place at one place."""
    holder = chance.choice(list(holders_in(body)))
    if isinstance(holder.value, list):
        place = chance.randrange(len(holder.value))
        return with_other_value(holder, place, kind_of(holder.value[place]), chance)
    name = chance.choice(list(holder.value))
    match chance.randrange(4):
        case 0:
            holder.value[UNKNOWN] = 1
            return Wrong(joined(holder.path, UNKNOWN), "unknown", lambda: holder.value.pop(UNKNOWN))
        case 1:
            before = dict(holder.value)
            del holder.value[name]
            return Wrong(joined(holder.path, name), "missing", lambda: holder.value.update(before))
        case _:
            return with_other_value(holder, name, name, chance)


def with_other_value(holder: Holder, key: Any, step: str, chance: random.Random) -> Wrong:
    before = holder.value[key]
    other = chance.choice([value for value in OTHER_VALUES if type(value) is not type(before)])
    if isinstance(before, str) and chance.random() < 0.3:
        other = "unheard of"
    holder.value[key] = other

    def undo() -> None:
        holder.value[key] = before

    return Wrong(joined(holder.path, step), f"{other!r}", undo)


def joined(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step
