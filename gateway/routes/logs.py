"""`/logs`: stored records, queried from analytics over the bus, and events as analytics
sees them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.proxy.relay import COMMENT_PING
from gateway.routes.parts import parts_of
from gateway.server.live import Live
from shared.bus import Bus
from shared.bus.channels import LOGS_QUERY, LOGS_WATCH, LogsQuery
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
from shared.runtime.bounds import Count, Status
from shared.runtime.errors import CCProxyError, NotFound
from shared.settings.tree import ObservabilitySettings

MEDIA_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}


class Queried(RecordFilter):
    limit: int = Field(1000, ge=1, le=10_000)
    offset: Count = 0
    order: Literal["desc", "asc"] = "desc"
    sql: str | None = Field(
        None,
        min_length=1,
        max_length=20_000,
        description=(
            "One SELECT over `requests`, `own_requests` and `hours`; instead of every filter"
        ),
    )


class Paged(RecordFilter):
    limit: int = Field(50, ge=1, le=1000)
    offset: Count = 0
    order_by: RecordOrder = "timestamp"
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


def logs_of(request: Request) -> Logs:
    parts = parts_of(request)
    return Logs(parts.bus, parts.observability)


@cache
def logs_router() -> APIRouter:
    """Return the routes, built once in a process."""
    routes = APIRouter(prefix="/logs", tags=["logs"])
    add_records(routes)
    add_comparisons(routes)
    add_watching(routes)
    return routes


def add_records(routes: APIRouter) -> None:

    @routes.get("/status")
    async def status(request: Request) -> dict[str, Any]:
        """Return the state of the record store, and the number of records."""
        return await logs_of(request).ask("status", {})

    @routes.get("/query")
    async def last_requests(request: Request, asked: Annotated[Queried, Query()]) -> dict[str, Any]:
        """Return the last requests, newest first; or the rows of a SELECT."""
        if asked.sql is not None:
            return await logs_of(request).ask("sql", {"sql": asked.sql, "limit": asked.limit})
        return await logs_of(request).ask("entries", asked.model_dump(exclude_none=True))

    @routes.get("/analytics")
    async def analytics(request: Request, asked: Annotated[HoursFilter, Query()]) -> dict[str, Any]:
        """Return sums, also by model, caller, provider, service, `billed_to` and error."""
        return await logs_of(request).ask("analytics", asked.model_dump(exclude_none=True))

    @routes.get("/timeline")
    async def timeline(request: Request, asked: Annotated[StepsFilter, Query()]) -> dict[str, Any]:
        """Return sums and latencies step by step."""
        return await logs_of(request).ask("timeline", asked.model_dump(exclude_none=True))

    @routes.get("/entries")
    async def entries(request: Request, asked: Annotated[Paged, Query()]) -> dict[str, Any]:
        """Return pages of requests; ordered by anything but time, the largest come first. A text
        (`search`) is looked for in about a million requests, the newest of the time:
        `searched_since` is where they begin, if there are more.
        """
        order = {"order": "desc" if asked.order_desc else "asc"}
        answer = await logs_of(request).ask(
            "entries", asked.model_dump(exclude_none=True, exclude={"order_desc"}) | order
        )
        return as_page(answer, asked)

    @routes.get("/export")
    async def export(request: Request, asked: Annotated[ExportFilter, Query()]) -> Response:
        """Return every matching record as one Parquet or CSV file."""
        logs = logs_of(request)
        logs.check()
        pieces = exported(logs.bus, asked.model_dump(exclude_none=True))
        first = await anext(pieces)
        named = {
            "content-disposition": f'attachment; filename="ccproxy-logs.{asked.format}"',
        }
        live = Live(
            parts_of(request).active_requests,
            joined_chunks(first, pieces),
            ping=lambda: b"",
            media_type=MEDIA_TYPES[asked.format],
        )
        live.headers.update(named)
        return live


def add_watching(routes: APIRouter) -> None:
    @routes.get("/stream")
    async def stream(request: Request, asked: Annotated[Watched, Query()]) -> Response:
        """Stream events, without SSE names; `type` is the kind: `connection`, then `request_start`
        (of requests to a model: the facts known by then), `request_complete` or `request_error` (of
        all: the whole record), `overflow` (a slow reader `missed` so many), `error` (the reason for
        the end).
        """
        logs = logs_of(request)
        logs.check()
        active_requests = parts_of(request).active_requests
        return Live(
            active_requests, watched(logs.bus, asked), ping=lambda: COMMENT_PING, last=failed
        )

    @routes.post("/reset")
    async def reset(request: Request, asked: Annotated[Reset, Body()]) -> dict[str, Any]:
        """Delete all records and sums. Permission requests stay for their retention: an audit."""
        return await logs_of(request).ask("reset", asked.model_dump())


def add_comparisons(routes: APIRouter) -> None:
    @routes.get("/groups")
    async def groups(request: Request, asked: Annotated[GroupsFilter, Query()]) -> dict[str, Any]:
        """Return sums, latencies and cost for each value of one column."""
        return await logs_of(request).ask("groups", asked.model_dump(exclude_none=True))

    @routes.get("/sessions")
    async def sessions(
        request: Request, asked: Annotated[SessionsFilter, Query()]
    ) -> dict[str, Any]:
        """Return pages of sessions with their sums, the one with the latest request first; those of
        about two million requests, the newest of the time, which begin at `searched_since` if there
        are more.
        """
        return await logs_of(request).ask("sessions", asked.model_dump(exclude_none=True))

    @routes.get("/agents")
    async def agents(request: Request, asked: Annotated[AgentsFilter, Query()]) -> dict[str, Any]:
        """Return the agents of one session with their parents and sums. The session's own
        requests have an empty `agent_id`.
        """
        return await logs_of(request).ask("agents", asked.model_dump(exclude_none=True))

    @routes.get("/cache-misses")
    async def cache_misses(
        request: Request, asked: Annotated[HoursFilter, Query()]
    ) -> dict[str, Any]:
        """Return how often the provider's prompt cache was missed and what it cost, by cause; of
        the last week unless a time is named.
        """
        return await logs_of(request).ask("misses", asked.model_dump(exclude_none=True))

    @routes.get("/outcomes")
    async def outcomes(
        request: Request, asked: Annotated[OutcomesQuestion, Query()]
    ) -> dict[str, Any]:
        """Return how the last requests to each provider ended: `requests`, `failed`, the latest
        error, and `level`: `pass`, `warn` or `fail`.
        """
        return await logs_of(request).ask("outcomes", asked.model_dump(exclude_none=True))


def as_page(answer: dict[str, Any], asked: Paged) -> dict[str, Any]:
    total = answer["total_count"]
    return {
        "entries": answer.get("results", []),
        "searched_since": answer.get("searched_since"),
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
