"""What tokens have used of their limits, as `ccproxy token limits` shows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.figures import clock
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_table
from shared.settings.tree import load_settings

COLUMNS = ("TOKEN", "LIMIT", "OF", "USED", "RESETS", "ACTIVE")

Facts = dict[str, Any]


def show_limits(name: str | None, *, as_json: bool) -> int:
    """Print the used share of every limit, or of those of the token `name`, and return the exit
    code. Raises NotRunning or Unanswered.
    """
    with connection(load_settings()) as client:
        answer = checked(client.get("/usage/limits")).json()
    tokens = [each for each in answer["tokens"] if name is None or each["name"] == name]
    if as_json:
        show_json(tokens)
        return DONE
    if not tokens:
        say(
            f"The token {name!r} has no limits."
            if name
            else "No token has limits; `ccproxy token limits NAME --limit $5/day` sets one."
        )
        return DONE
    show_table(COLUMNS, limit_rows(tokens, time.time()), titled=True)
    if answer["problem"]:
        say(answer["problem"])
        return FAILED
    return DONE


def limit_rows(tokens: Iterable[Facts], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the cells of every limit. The active requests stand beside the token's first limit."""
    for token in tokens:
        most = token["at_once"]
        active = f"{token['active']} of {most}" if most else str(token["active"])
        if not token["limits"]:
            yield token["name"], "", "", "", "", active
        for place, limit in enumerate(token["limits"]):
            yield (
                token["name"],
                limit["limit"],
                limit["provider"],
                f"{limit['used_percent']:.0f} %",
                clock(limit["resets_at"], now),
                active if place == 0 else "",
            )
