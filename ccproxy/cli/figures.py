"""Dollars, shares, lengths and times as every command shows them. This module imports little: a
status line is printed many times a minute.
"""

from __future__ import annotations

from datetime import datetime

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600


def dollars(amount: float) -> str:
    """Return an amount of money for a table, with two decimals."""
    return "< $0.01" if 0 < amount < 0.005 else f"${amount:,.2f}"


def dollars_of_one(amount: float) -> str:
    """Return the cost of a single request, with four decimals."""
    return "< $0.0001" if 0 < amount < 0.00005 else f"${amount:.4f}"


def share(part: float, whole: float) -> str:
    """Return `part` in percent of `whole`, or an empty text if `whole` is nothing."""
    return f"{part / whole:.0%}" if whole else ""


def time_taken(milliseconds: float) -> str:
    """Return the duration of a request in milliseconds, or in seconds from one second on."""
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s"


def lasting(seconds: float) -> str:
    """Return a length of time as hours and minutes, or as seconds below a minute."""
    if seconds < MINUTE_SECONDS:
        return f"{seconds:.0f} s"
    hours = int(seconds // HOUR_SECONDS)
    minutes = int(seconds % HOUR_SECONDS // MINUTE_SECONDS)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def clock(at: float, now: float) -> str:
    """Return a time of day in the reader's own zone, with the day if it is another day."""
    when = datetime.fromtimestamp(at).astimezone()
    today = datetime.fromtimestamp(now).astimezone()
    return when.strftime("%H:%M" if when.date() == today.date() else "%a %d %b %H:%M")


def second_of_day(at: float) -> str:
    """Return a time of day in the reader's own zone, to the second."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
