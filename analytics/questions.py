"""The questions analytics answers: their parameters, checked, and the shape of each answer. Pure:
rows in, dicts out.

Rows of an answer are always under `results`; one too big for a single reply comes in several, alike
but for those.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analytics.sums import HOUR_SECONDS
from shared.bus.channels import RecordedOutcome, encode_payload
from shared.bus.log_questions import (
    AgentsFilter,
    ExportFilter,
    GroupsFilter,
    HoursFilter,
    OutcomesQuestion,
    RecordFilter,
    RecordOrder,
    SessionsFilter,
    StepsFilter,
)
from shared.runtime.bounds import LAST_SECOND, Count, Moment
from shared.runtime.errors import ClientError

REPLY_BYTES = 1024 * 1024
USUAL_HOURS = 24
WEEK_HOURS = 168
USUAL_STEPS = 60
MOST_STEPS = 1000

Q = TypeVar("Q", bound=BaseModel)

PARTS = ("service_type", "model", "caller", "provider", "billed_to", "error_kind")

Row = dict[str, Any]
Answer = dict[str, Any]
Parameters = Mapping[str, Any]


# Filters that a record matches by being equal. Sums of older hours know no column of single
# requests.
EQUAL = (
    "model", "caller", "provider", "asked_model", "session_id", "agent_id", "client_program",
    "client_version", "cache_miss_reason", "cache_cause", "service_tier",
    "error_kind", "billed_to", "endpoint",
)  # fmt: skip
# Filters that a record matches in another way.
TESTED = (
    "request_id", "search", "failed", "cache_missed", "leave_out_own", "status_min", "status_max",
)  # fmt: skip


class Filter(RecordFilter):
    """The selection of records.

    `request_id` is ours or the client's. `search` is part of an id in its own case, or of a name,
    path or error message in any case.
    `leave_out_own` leaves out the requests that CCProxy answers itself, except refused ones.
    """

    def bound(self) -> dict[str, Any]:
        """Return the parameters of the `matching` fragment; a filter that is None is not given."""
        services = [
            name.strip() for name in (self.service_type or "").split(",") if name.strip(" !")
        ]
        left_out = [name[1:].strip() for name in services if name.startswith("!")]
        return self.model_dump(include={*EQUAL, *TESTED}) | {
            **self.times(),
            "leave_out_own": self.leave_out_own or None,
            "services": [name for name in services if not name.startswith("!")] or None,
            "services_left_out": left_out or None,
        }

    def times(self) -> dict[str, Any]:
        """Return the beginning and end of the time."""
        return {
            "start_time": _instant(self.start_time or 0),
            "end_time": _instant(LAST_SECOND if self.end_time is None else self.end_time),
        }

    def given(self) -> dict[str, Any]:
        """Return the caller's own parameters, to be shown beside the answer."""
        return self.model_dump(
            include=self.model_fields_set & set(Filter.model_fields), exclude_none=True
        )


class Entries(Filter):
    """A page of records. The `order` applies to time; every other `order_by` puts the largest
    first.
    """

    limit: int = Field(1000, ge=1, le=10_000)
    offset: Count = 0
    order: Literal["desc", "asc"] = "desc"
    order_by: RecordOrder = "timestamp"

    @property
    def statement(self) -> str:
        if self.order_by != "timestamp":
            return "largest"
        if self.order == "asc":
            return "oldest"
        return "searched" if self.search else "newest"

    def page(self) -> dict[str, Any]:
        ordered = {"order_by": self.order_by} if self.order_by != "timestamp" else {}
        return {"limit": self.limit, "offset": self.offset, **ordered}


class Export(ExportFilter, Filter):
    """The selection of records for a file."""


class Permissions(BaseModel):
    """The selection of permission requests, latest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(100, ge=1, le=10_000)
    tool_name: str | None = None
    caller: str | None = None
    outcome: RecordedOutcome | None = None
    start_time: Moment | None = None


class Analytics(HoursFilter, Filter):
    """`hours` reaches back from `end_time` (now) and gives way to `start_time`."""

    @property
    def hours_back(self) -> int:
        """Return `hours`, or the usual number of hours."""
        return self.hours or USUAL_HOURS

    def window(self) -> Self:
        if self.start_time is not None:
            return self
        end = time.time() if self.end_time is None else self.end_time
        return self.model_copy(update={"start_time": max(0.0, end - self.hours_back * 3600)})


def round_up(seconds: int) -> int:
    """Return the length of a step, in whole hours if the step is longer than an hour."""
    return seconds if seconds <= HOUR_SECONDS else -(-seconds // HOUR_SECONDS) * HOUR_SECONDS


class Timeline(StepsFilter, Analytics):
    """A question about the course of time. `bucket` is the length of a step in seconds; by default
    there are about 60 steps, of whole hours where the sums by hour can be used.
    """

    def step(self) -> int:
        """Return the length of a step in seconds, never so short as to make more than `MOST_STEPS`.
        Call on a `window`.
        """
        end = time.time() if self.end_time is None else self.end_time
        length = max(1.0, end - (self.start_time or 0))
        usual = round_up(math.ceil(length / USUAL_STEPS))
        return max(self.bucket or usual, round_up(math.ceil(length / MOST_STEPS)))


class Groups(GroupsFilter, Analytics):
    """A question that compares the values of one column."""


class SessionPages(SessionsFilter, Analytics):
    """A page of sessions."""

    def page(self) -> dict[str, Any]:
        return {"limit": self.limit, "offset": self.offset}


class Misses(HoursFilter, Filter):
    """A question about the cost of misses of the provider's cache."""

    def window(self) -> Self:
        """Return the question about a week, if it names no time."""
        if self.start_time is not None:
            return self
        end = time.time() if self.end_time is None else self.end_time
        return self.model_copy(
            update={"start_time": max(0.0, end - (self.hours or WEEK_HOURS) * 3600)}
        )


class Agents(AgentsFilter, Analytics):
    """A question about the agents of one session."""


class Outcomes(OutcomesQuestion):
    """A question about the last requests to each provider."""

    def bound(self) -> dict[str, Any]:
        return {"since": _instant(max(0.0, time.time() - self.hours * 3600)), "limit": self.limit}


class Sql(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: str = Field(min_length=1, max_length=20_000)
    limit: int = Field(1000, ge=1, le=10_000)


class ResetOrder(BaseModel):
    """The order to delete every record, with an explicit confirmation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirm: Literal["forget every record"]


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def read_question(shape: type[Q], parameters: Parameters) -> Q:
    """Return the parameters as `shape`. Raises ClientError with the name of the first misfit
    parameter.
    """
    try:
        return shape.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClientError(f"{where}: {first['msg']}") from error


def shape_entries(question: Entries, rows: list[Row], total: int) -> Answer:
    return {
        "results": rows,
        "count": len(rows),
        "total_count": total,
        "limit": question.limit,
        "offset": question.offset,
        "order": question.order,
        "order_by": question.order_by,
        "filters": question.given(),
        "timestamp": time.time(),
    }


def searched_since(limited: Parameters) -> Answer:
    """Return the start of the searched time, in UTC seconds; an empty answer without a start."""
    start: datetime | None = limited.get("start_time")
    return {"searched_since": start.replace(tzinfo=UTC).timestamp()} if start else {}


def shape_analytics(question: Analytics, totals: list[Row], seconds: float) -> Answer:
    """Return the predecessor's keys and a breakdown by all of `PARTS`, all read in a
    single scan.
    """
    everything = next(row for row in totals if row["grouped_by"] == "all")
    tokens = _tokens(everything)
    requests = _requests(everything)
    return {
        "summary": {
            "total_requests": requests["total_requests"],
            "total_successful_requests": requests["successful_requests"],
            "total_error_requests": requests["error_requests"],
            "avg_duration_ms": everything["avg_duration_ms"],
            "total_cost_usd": everything["cost_usd"],
            "unpriced_tokens": everything["unpriced_tokens"],
            "total_tokens_input": tokens["input_tokens"],
            "total_tokens_output": tokens["output_tokens"],
            "total_cache_read_tokens": tokens["cache_read_tokens"],
            "total_cache_write_tokens": tokens["cache_write_tokens"],
            "total_tokens_all": tokens["total_tokens"],
        },
        "token_analytics": tokens,
        "request_analytics": requests,
        **{f"{part}_breakdown": _breakdown(totals, part) for part in PARTS},
        "query_time": seconds,
        "backend": "duckdb",
        "query_params": question.given() | {"hours": question.hours_back},
    }


def _requests(row: Row) -> dict[str, Any]:
    total = row["requests"]
    succeeded = row["succeeded"]
    success_rate = succeeded / total * 100 if total else 0.0
    return {
        "total_requests": total,
        "successful_requests": succeeded,
        "error_requests": total - succeeded,
        "success_rate": success_rate,
        "error_rate": 100 - success_rate if total else 0.0,
    }


def _tokens(row: Row) -> dict[str, int]:
    kinds = {"input": "tokens_input", "output": "tokens_output"}
    kinds |= {"cache_read": "cache_read_tokens", "cache_write": "cache_write_tokens"}
    counts = {f"{kind}_tokens": int(row[column]) for kind, column in kinds.items()}
    return counts | {"total_tokens": sum(counts.values())}


def _breakdown(totals: list[Row], grouped_by: str) -> dict[str, dict[str, Any]]:
    shaped = {}
    for row in totals:
        if row["grouped_by"] == grouped_by:
            requests = _requests(row)
            spent = {name: row[name] for name in ("avg_duration_ms", "unpriced_tokens")} | {
                "total_cost_usd": row["cost_usd"]
            }
            shaped[row["name"]] = {
                "request_count": requests.pop("total_requests"),
                **requests,
                **spent,
                **_tokens(row),
            }
    return shaped


def split_replies(answer: Answer) -> list[bytes]:
    """Return the answer in replies of about `REPLY_BYTES` at most, with the `results` shared out in
    order.
    """
    data = encode_payload(answer)
    rows = answer.get("results", [])
    if len(data) <= REPLY_BYTES or len(rows) < 2:
        return [data]
    # Rows differ in size, so the halves are measured again until each fits.
    middle = len(rows) // 2
    return [
        reply
        for part in (rows[:middle], rows[middle:])
        for reply in split_replies(answer | {"results": part})
    ]


def spans(now: float) -> dict[str, Parameters]:
    """The parameters of the `spent` query, by the name of each span."""
    return {
        name: Filter(start_time=now - days * 86_400).times()
        for name, days in (("24h", 1), ("7d", 7), ("30d", 30))
    }


def before_days(now: float, days: float) -> datetime:
    """Return the last full hour `days` days ago."""
    return _instant((now - days * 86_400) // 3600 * 3600)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
