"""Times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(seconds: float) -> str:
    """Return a time in UTC seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def iso_time_or_none(seconds: float | None) -> str | None:
    """Return `iso_time` of a time, and None for a time that is not known."""
    return None if seconds is None else iso_time(seconds)


def minute_in_utc(seconds: float) -> str:
    """Return a time in UTC seconds since 1970 for a person, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
