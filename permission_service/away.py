"""Away: the state that makes hooks wait for a person instead of asking in their own terminals.

The owner switches it by hand (`on`, `off`, or `on` for a time), and may give a window of every day.
A switch by hand counts until it ends, and then the window counts again. Pure: the clock and the
local time are handed in.

Invariant: a state without `forced` follows the window alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.runtime.errors import ClientError
from shared.runtime.times import (
    in_daily_window,
    is_daily_window,
    iso_time_or_none,
    minute_of_day,
)

MAX_SECONDS = 366 * 86_400.0
STATES = "state: expected `on`, `off`, `for` with `seconds`, or `daily` with a `window`."

LocalTime = Callable[[float], datetime]


@dataclass(frozen=True, slots=True)
class Away:
    """The owner's settings of the state. `forced` is the switch by hand, None without a switch; the
    switch ends at `until` (UTC seconds), or never. `window` is `22:00-07:00` of every day in local
    time, or empty. `by` is the caller of the last change.
    """

    forced: bool | None = None
    until: float | None = None
    window: str = ""
    by: str = ""


def is_away(away: Away, now: float, local: LocalTime = datetime.fromtimestamp) -> bool:
    """Return True while hooks wait for a person."""
    if away.forced is not None and (away.until is None or now < away.until):
        return away.forced
    return in_daily_window(away.window, local(now))


def changed_away(
    away: Away,
    asked: dict[str, Any],
    by: str,
    now: float,
    local: LocalTime = datetime.fromtimestamp,
) -> Away:
    """Return `away` after the change `asked`: `state`, with `seconds` for `for` and `window` for
    `daily` (an empty window ends it). Raises ClientError.
    """
    match asked.get("state"):
        case "on":
            return replace(away, forced=True, until=None, by=by)
        case "for":
            return replace(away, forced=True, until=now + _seconds(asked.get("seconds")), by=by)
        case "off":
            # Back inside the window holds until the window ends: the next evening counts again.
            inside = in_daily_window(away.window, local(now))
            until = _next_time(away.window.partition("-")[2], now, local) if inside else None
            return replace(away, forced=False if inside else None, until=until, by=by)
        case "daily":
            return replace(away, window=_window(asked.get("window")), by=by)
        case _:
            raise ClientError(STATES)


def next_change(away: Away, now: float, local: LocalTime = datetime.fromtimestamp) -> float | None:
    """Return the time (UTC seconds) of the next change without a switch by hand; None without
    one.
    """
    if away.forced is not None:
        if away.until is None:
            return None
        if now < away.until:
            return away.until
    if not away.window:
        return None
    return min(_next_time(time, now, local) for time in away.window.split("-"))


def show_away(away: Away, now: float, local: LocalTime = datetime.fromtimestamp) -> dict[str, Any]:
    """Return the state for people: `away`, `until` (ISO 8601, or None) and `window`."""
    return {
        "away": is_away(away, now, local),
        "until": iso_time_or_none(next_change(away, now, local)),
        "window": away.window,
        "by": away.by,
    }


def _seconds(given: Any) -> float:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 < given <= MAX_SECONDS:
        raise ClientError("seconds: expected a number of seconds, at most a year.")
    return float(given)


def _window(given: Any) -> str:
    if isinstance(given, str) and (not given or is_daily_window(given)):
        return given
    raise ClientError("window: expected two times of a day, as 22:00-07:00.")


def _next_time(time: str, now: float, local: LocalTime) -> float:
    """Return the next moment (UTC seconds) at which the local clock shows `time`."""
    local_now = local(now)
    moment = local_now.replace(hour=0, minute=0, second=0, microsecond=0)
    moment += timedelta(minutes=minute_of_day(time))
    if moment <= local_now:
        moment += timedelta(days=1)
    # The difference of two local times is right on all but the two days a year that have 23 or 25
    # hours; the state is looked at again every minute.
    return now + (moment - local_now).total_seconds()
