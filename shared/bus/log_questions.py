"""The questions about the log, one model each: the gateway describes and checks them at `/logs`,
and analytics reads the same ones from the bus.

Times are UTC seconds. A parameter that is None was not asked for; analytics knows its default.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from shared.runtime.bounds import Bucket, Count, Hours, Moment, Status

RecordOrder: TypeAlias = Literal["timestamp", "duration_ms", "first_byte_ms", "cost_usd", "tokens"]


class RecordFilter(BaseModel):
    """The selection of records. `service_type` is a list by commas, `!x` leaves `x` out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_time: Moment | None = None
    end_time: Moment | None = None
    model: str | None = None
    caller: str | None = None
    provider: str | None = None
    asked_model: str | None = Field(None, description="The model as the client named it")
    session_id: str | None = None
    agent_id: str | None = Field(None, description="A subagent of Claude Code")
    client_program: str | None = Field(
        None, description="`claude-code`, `codex`, `openai-sdk-python`, …"
    )
    client_version: str | None = None
    cache_miss_reason: str | None = Field(
        None, description="The provider's word: `tools_changed`, …"
    )
    service_tier: str | None = Field(
        None, description="`fast`, `priority`, `flex`, …; empty: the standard tier"
    )
    cache_cause: str | None = Field(
        None, description="Why the provider's cache was missed: `idle`, `tools`, `messages`, …"
    )
    cache_missed: bool | None = Field(
        None, description="Only requests that a hit of the cache would have made cheaper"
    )
    error_kind: str | None = None
    billed_to: str | None = Field(None, description="`subscription`, `api_key`, `extra_usage`")
    endpoint: str | None = None
    request_id: str | None = Field(None, description="Ours, or the client's `x-request-id`")
    search: str | None = Field(
        None, max_length=200, description="Part of an id (in its case), name, path or error message"
    )
    failed: bool | None = None
    leave_out_own: bool | None = Field(
        None, description="Leave out what CCProxy answers itself, except refused requests"
    )
    service_type: str | None = Field(None, description="A list by commas; `!x` leaves `x` out")
    status_min: Status | None = None
    status_max: Status | None = None


class HoursFilter(RecordFilter):
    """The selection of the records of some hours."""

    hours: Hours | None = Field(
        None, description="How far back from `end_time`; gives way to `start_time`"
    )


class StepsFilter(HoursFilter):
    """A question about the course of time."""

    bucket: Bucket | None = Field(None, description="Seconds a step; unset: about 60 steps")


class GroupsFilter(HoursFilter):
    """A question that compares the values of the column `by`; the most requests come first."""

    by: Literal["model", "caller", "client_program", "provider", "error_kind", "endpoint"]
    limit: int = Field(100, ge=1, le=1000)


class SessionsFilter(HoursFilter):
    """A page of sessions, the session with the latest request first."""

    limit: int = Field(50, ge=1, le=1000)
    offset: Count = 0


class AgentsFilter(HoursFilter):
    """A question about the agents of a session."""

    session_id: str = Field(min_length=1)


class ExportFilter(RecordFilter):
    """The selection of records for a file."""

    format: Literal["parquet", "csv"] = "parquet"


class OutcomesQuestion(BaseModel):
    """A question about the last `limit` requests to each provider within `hours`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hours: Hours = 1
    limit: int = Field(60, ge=1, le=1000, description="Requests of each provider")
