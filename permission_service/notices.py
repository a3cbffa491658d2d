"""News for watchers that are no permission requests: an agent waits or is done, the owner leaves or
returns.

News is kept in memory alone: after a restart old news is of no use. Numbers are those of the events
of requests, so one stream carries both in order.

Invariants: at most KEPT pieces of news are kept, and no caller takes more than PER_CALLER of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from permission_service.changes import Changes
from shared.runtime.times import iso_time
from shared.runtime.visible_text import visible_line

KEPT = 100
PER_CALLER = 20
MAX_TEXT = 300  # characters of a text in news


@dataclass(frozen=True, slots=True)
class Notice:
    """A piece of news. `number` orders it among the events of requests."""

    number: int
    name: str
    data: dict[str, Any]
    caller: str = ""

    def show(self) -> dict[str, Any]:
        return {"number": self.number, "name": self.name, "data": {"type": self.name} | self.data}


class Notices:
    """The latest news. `changes` numbers each piece, and wakes the watchers."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._kept: deque[Notice] = deque(maxlen=KEPT)

    async def add(self, name: str, data: dict[str, Any], caller: str = "") -> None:
        """Tell all watchers `data` as the event `name`. Texts are escaped and cut."""

        def keep(number: int, now: float) -> None:
            shown = {key: _shown(value) for key, value in data.items()} | {"at": iso_time(now)}
            self._keep(Notice(number, name, shown, caller))

        await self._changes.announce(keep)

    def _keep(self, notice: Notice) -> None:
        of_caller = [known for known in self._kept if known.caller == notice.caller]
        if len(of_caller) >= PER_CALLER:
            self._kept.remove(of_caller[0])
        self._kept.append(notice)

    def after(self, number: int) -> Iterator[Notice]:
        """Yield the kept news after event `number`, in order."""
        return (notice for notice in self._kept if notice.number > number)


def _shown(value: Any) -> Any:
    return visible_line(value[:MAX_TEXT]) if isinstance(value, str) else value
