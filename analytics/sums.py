"""The share of a question that the sums by hour answer: the whole hours between its ends, and none
where a filter or a step needs single records. Pure.

`recent_hours` holds the sums of every record before `until`, a full hour. A question reads those of
its whole hours, and the records before and after them; so each record is counted once, in one of
the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)
HOUR_SECONDS = 3600

# Filters on what only a single record knows.
OF_RECORDS = (
    "asked_model",
    "session_id",
    "agent_id",
    "client_version",
    "cache_miss_reason",
    "service_tier",
    "cache_cause",
    "cache_missed",
    "request_id",
    "search",
)


def whole_hours(parameters: Mapping[str, Any], until: datetime) -> dict[str, datetime]:
    """Return `whole_from` and `whole_until`, the hours with sums in place of records.

    Both are `start_time` when no sums can be used. `parameters` are those of `matching`, with the
    seconds of a step as `bucket` if there are steps.
    """
    start: datetime = parameters["start_time"]
    nothing = {"whole_from": start, "whole_until": start}
    if any(parameters.get(name) is not None for name in OF_RECORDS):
        return nothing
    if parameters.get("bucket", HOUR_SECONDS) % HOUR_SECONDS:
        return nothing
    full = full_hour(start)
    first = full if full == start else full + HOUR
    last = min(full_hour(parameters["end_time"]), until)
    return {"whole_from": first, "whole_until": last} if first < last else nothing


def full_hour(when: datetime) -> datetime:
    """Return the beginning of the hour of `when`."""
    return when.replace(minute=0, second=0, microsecond=0)
