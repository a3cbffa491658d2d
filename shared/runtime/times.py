"""Times as people and programs read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

DAILY_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")

UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhd])")


def read_span(text: str, units: str = "mhd") -> float | None:
    """Return the seconds of a span like `1.5h`; None for a text other than a number with a unit of
    `units`.
    """
    found = SPAN.fullmatch(text)
    if found is None or found[2] not in units:
        return None
    return float(found[1]) * UNIT_SECONDS[found[2]]


def local_clock(iso: str) -> str:
    """Return the time of day of an ISO 8601 time in the machine's zone, to the second. Raises
    ValueError for a text that is no time.
    """
    return datetime.fromisoformat(iso).astimezone().strftime("%H:%M:%S")


def local_minute(iso: str) -> str:
    """Return an ISO 8601 time in the machine's zone, with the day, to the minute. Raises ValueError
    for a text that is no time.
    """
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")


def iso_time(seconds: float) -> str:
    """Return a time in UTC seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def iso_time_or_none(seconds: float | None) -> str | None:
    """Return `iso_time` of a time, and None for a time that is not known."""
    return None if seconds is None else iso_time(seconds)


def minute_in_utc(seconds: float) -> str:
    """Return a time in UTC seconds since 1970 for a person, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def minute_of_day(time: str) -> int:
    """Return the minute of the day of a time like `22:00`."""
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def is_daily_window(text: str) -> bool:
    """Return True when `text` is two different times of a day, as 22:00-07:00."""
    start, _, end = text.partition("-")
    return DAILY_WINDOW.fullmatch(text) is not None and start != end


def in_daily_window(window: str, local_now: datetime) -> bool:
    """Return True when the local time `local_now` is in `window`; no time is in an empty window."""
    if not window:
        return False
    start, end = (minute_of_day(time) for time in window.split("-"))
    minute = local_now.hour * 60 + local_now.minute
    # A window over midnight is the outside of its reverse.
    return start <= minute < end if start < end else not end <= minute < start
