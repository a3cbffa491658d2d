"""The requests that wait in front of a provider, as rows for `ccproxy top`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ccproxy.cli.figures import clock

WAITING = ("WAITS", "CLIENT", "MODEL", "UNTIL")

Facts = dict[str, Any]


def waiting_rows(requests: Iterable[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each waiting request."""
    for request in requests:
        yield (
            clock(request["since"], now),
            str(request["caller"] or request["client_program"]),
            str(request["model"]),
            waits_until(request, now),
        )


def waits_until(request: Facts, now: float) -> str:
    """Return the end of a wait: `14:05 for the 5-hour window of claude`."""
    if request["waits_for"] == "place":
        return f"a place at {request['provider']}"
    return f"{clock(request['until'], now)} for {request['limit']}"
