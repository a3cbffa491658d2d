"""`/logs`: stored records, queried from analytics over the bus, and events as analytics
sees them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.proxy.active_requests import ActiveRequests
from gateway.proxy.relay import COMMENT_PING
from gateway.server.live import Live
from shared.bus import Bus
from shared.bus.channels import LOGS_QUERY, LOGS_WATCH, LogsQuery
from shared.runtime.bounds import Bucket, Count, Hours, Moment, Status
from shared.runtime.errors import CCProxyError, NotFound
from shared.settings.tree import ObservabilitySettings

PARQUET = "application/vnd.apache.parquet"


class Chosen(BaseModel):
    """The filters of a query for records. Times are UTC seconds; `service_type` is a list by
    commas, `!x` leaves `x` out.
    """

    model_config = ConfigDict(extra="forbid")

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
    error_kind: str | None = None
    service_type: str | None = Field(None, description="A list by commas; `!x` leaves `x` out")
    status_min: Status | None = None
    status_max: Status | None = None


class Queried(Chosen):
    limit: int = Field(1000, ge=1, le=10_000)
    offset: Count = 0
    order: Literal["desc", "asc"] = "desc"
    sql: str | None = Field(
        None,
        min_length=1,
        max_length=20_000,
        description="One SELECT over `requests` and `hours`; instead of every filter",
    )


class Summed(Chosen):
    hours: Hours | None = Field(
        None, description="How far back from `end_time`; gives way to `start_time`"
    )


class Stepped(Summed):
    bucket: Bucket | None = Field(None, description="Seconds a step; unset: about 60 steps")


class Paged(Chosen):
    limit: int = Field(50, ge=1, le=1000)
    offset: Count = 0
    order_by: Literal["timestamp", "duration_ms", "first_byte_ms", "cost_usd", "tokens"] = (
        "timestamp"
    )
    order_desc: bool = True


class Watched(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    service_type: str | None = None
    session_id: str | None = None
    client_program: str | None = None
    min_duration_ms: float = Field(0, ge=0, allow_inf_nan=False)
    max_duration_ms: float | None = Field(None, ge=0, allow_inf_nan=False)
    status_code_min: Status = 0
    status_code_max: Status = 999

    def wants(self, event: Mapping[str, Any]) -> bool:
        if not event["type"].startswith("request_"):
            return True
        named = {
            name: getattr(self, name)
            for name in ("model", "service_type", "session_id", "client_program")
        }
        if any(wanted is not None and event.get(name) != wanted for name, wanted in named.items()):
            return False
        if event["type"] == "request_start":
            return True
        lasted: float = event["duration_ms"]
        status: int = event["status_code"]
        longest = lasted if self.max_duration_ms is None else self.max_duration_ms
        in_time = self.min_duration_ms <= lasted <= longest
        return in_time and self.status_code_min <= status <= self.status_code_max


class Reset(BaseModel):
    confirm: Literal["forget every record"]


@dataclass(frozen=True, slots=True)
class Logs:
    """The queries to analytics, unless switched off."""

    bus: Bus
    switches: ObservabilitySettings

    def check(self) -> None:
        """Raise NotFound naming the switch."""
        if off := self.switches.switched_off("logs_endpoints_enabled"):
            raise NotFound(f"The log endpoints are switched off ({off}).")

    async def ask(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.check()
        return await run_question(self.bus, LogsQuery(name, dict(parameters)))


def router(settings: ObservabilitySettings, bus: Bus, active_requests: ActiveRequests) -> APIRouter:
    routes = APIRouter(prefix="/logs", tags=["logs"])
    logs = Logs(bus, settings)

    @routes.get("/status")
    async def status() -> dict[str, Any]:
        """Return the state of the record store, and the number of records."""
        return await logs.ask("status", {})

    @routes.get("/query")
    async def last_requests(asked: Annotated[Queried, Query()]) -> dict[str, Any]:
        """Return the last requests, newest first; or the rows of a SELECT."""
        if asked.sql is not None:
            return await logs.ask("sql", {"sql": asked.sql, "limit": asked.limit})
        return await logs.ask("entries", asked.model_dump(exclude_none=True))

    @routes.get("/analytics")
    async def analytics(asked: Annotated[Summed, Query()]) -> dict[str, Any]:
        """Return sums, also by model, caller, provider, service, `billed_to` and error."""
        return await logs.ask("analytics", asked.model_dump(exclude_none=True))

    @routes.get("/timeline")
    async def timeline(asked: Annotated[Stepped, Query()]) -> dict[str, Any]:
        """Return sums and latencies step by step."""
        return await logs.ask("timeline", asked.model_dump(exclude_none=True))

    @routes.get("/entries")
    async def entries(asked: Annotated[Paged, Query()]) -> dict[str, Any]:
        """Return pages of requests; ordered by anything but time, the largest come first."""
        order = {"order": "desc" if asked.order_desc else "asc"}
        answer = await logs.ask(
            "entries", asked.model_dump(exclude_none=True, exclude={"order_desc"}) | order
        )
        return as_page(answer, asked)

    @routes.get("/export")
    async def export(asked: Annotated[Chosen, Query()]) -> Response:
        """Return every matching record as one Parquet file."""
        logs.check()
        pieces = exported(bus, asked.model_dump(exclude_none=True))
        first = await anext(pieces)
        named = {"content-disposition": 'attachment; filename="ccproxy-logs.parquet"'}
        live = Live(
            active_requests, joined_chunks(first, pieces), ping=lambda: b"", media_type=PARQUET
        )
        live.headers.update(named)
        return live

    @routes.get("/stream")
    async def stream(asked: Annotated[Watched, Query()]) -> Response:
        """Stream events, without SSE names; `type` is the kind: `connection`, then `request_start`
        (of requests to a model: the facts known by then), `request_complete` or `request_error` (of
        all: the whole record), `overflow` (a slow reader `missed` so many), `error` (the reason for
        the end).
        """
        logs.check()
        return Live(active_requests, watched(bus, asked), ping=lambda: COMMENT_PING, last=failed)

    @routes.post("/reset")
    async def reset(asked: Annotated[Reset, Body()]) -> dict[str, Any]:
        """Delete all records and sums. Permission requests stay for their retention: an audit."""
        return await logs.ask("reset", asked.model_dump())

    return routes


def as_page(answer: dict[str, Any], asked: Paged) -> dict[str, Any]:
    total = answer["total_count"]
    return {
        "entries": answer.get("results", []),
        "total_count": total,
        "limit": asked.limit,
        "offset": asked.offset,
        "order_by": asked.order_by,
        "order_desc": asked.order_desc,
        "service_type": asked.service_type,
        "page": asked.offset // asked.limit + 1,
        "total_pages": -(-total // asked.limit),
        "backend": "duckdb",
    }


async def run_question(bus: Bus, question: LogsQuery) -> dict[str, Any]:
    """Return the answer to a question, joined from several pieces of rows."""
    answer: dict[str, Any] = {}
    async with bus.call(LOGS_QUERY, question) as replies:
        async for reply in replies:
            piece = orjson.loads(reply)
            rows = answer.get("results", []) + piece.get("results", [])
            answer |= piece
            if rows:
                answer["results"] = rows
    return answer


async def exported(bus: Bus, parameters: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    async with bus.call(LOGS_QUERY, LogsQuery("export", parameters)) as replies:
        async for piece in replies:
            yield piece


async def joined_chunks(
    first: bytes, rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield `first`, then `rest`. The caller has waited for `first`, so that a refusal has its own
    status.
    """
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def watched(bus: Bus, asked: Watched) -> AsyncGenerator[bytes, None]:
    yield log_event({"type": "connection", "timestamp": time.time()})
    async with bus.call(LOGS_WATCH, {}) as replies:
        async for reply in replies:
            if wanted := [log_event(found) for found in orjson.loads(reply) if asked.wants(found)]:
                yield b"".join(wanted)


def log_event(found: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(found) + b"\n\n"


def failed(error: CCProxyError) -> bytes:
    return log_event({"type": "error", "message": error.message, "timestamp": time.time()})
