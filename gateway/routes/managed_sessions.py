"""`/sdk/v1/sessions`: the sessions of managed agents; and `/sdk/sessions/managed`, those of every
token.

A caller with the scope `admin` reads, stops, archives and deletes the sessions of another token, by
the name of the token in a header.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from gateway.managed.bodies import SessionBody, SessionChanges
from gateway.managed.journal import SessionName
from gateway.managed.listing import USUAL_PAGE, Cursor, Limit, Time, time_filter
from gateway.managed.sent_events import EventsBody, read_first_events
from gateway.routes.parts import managed_of, owner_of, parts_of
from gateway.server.context import context_of
from gateway.server.live import Live
from shared.formats.ir import Json
from shared.permissions.deciders import BY_LOCAL
from shared.runtime.errors import NotAllowed

CALLER_HEADER = "x-ccproxy-caller"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
Status = Literal["rescheduling", "running", "idle", "terminated"]


@cache
def managed_sessions_router() -> APIRouter:
    """Return the routes of sessions and their events, built once in a process."""
    routes = APIRouter(prefix="/sdk/v1/sessions", tags=["managed agents"])
    add_sessions(routes)
    add_events(routes)
    return routes


@cache
def all_sessions_router() -> APIRouter:
    """Return the route of the sessions of every token, built once in a process."""
    routes = APIRouter(prefix="/sdk/sessions", tags=["managed agents"])

    @routes.get("/managed")
    async def list_all_sessions(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        include_archived: bool = False,
    ) -> Json:
        """List the managed sessions of every token, the newest first."""
        found = await managed_of(request).sessions.newest_of_all(
            limit, lambda session: include_archived or not session["archived_at"]
        )
        return {"sessions": found, "count": len(found)}

    return routes


def named_session(request: Request, session_id: str) -> SessionName:
    """Return the session of the caller, or of the token named by the header. Raises NotAllowed for
    the header of a caller without the scope `admin`.
    """
    named = request.headers.get(CALLER_HEADER)
    if named is None:
        return SessionName(owner_of(request), session_id)
    caller = context_of(request.scope).admitted
    if "admin" not in caller.scopes:
        raise NotAllowed(
            f"The token {caller.name!r} may not name another token in {CALLER_HEADER}: it lacks "
            "the scope 'admin'."
        )
    return SessionName("" if named == BY_LOCAL else named, session_id)


def check_interrupts(request: Request, given: list[Json]) -> None:
    """Raise NotAllowed for events to a session of another token, except interrupts: a message makes
    the other token's agent act.
    """
    others = [event for event in given if event.get("type") != "user.interrupt"]
    if CALLER_HEADER in request.headers and others:
        raise NotAllowed(f"With {CALLER_HEADER} a session takes user.interrupt alone.")


def add_sessions(routes: APIRouter) -> None:
    @routes.post("")
    async def create_session(request: Request, body: SessionBody) -> Json:
        """Begin a session of an agent in an environment."""
        first = read_first_events(body.initial_events or [])
        return await managed_of(request).events.begin(owner_of(request), body, first)

    @routes.get("")
    async def list_sessions(
        request: Request,
        limit: Limit = USUAL_PAGE,
        page: Cursor = None,
        order: Literal["asc", "desc"] = "desc",
        include_archived: bool = False,
        agent_id: str | None = None,
        agent_version: int | None = None,
        statuses: Annotated[list[Status] | None, Query()] = None,
        statuses_list: Annotated[list[Status] | None, Query(alias="statuses[]")] = None,
        gt: Annotated[Time, Query(alias="created_at[gt]")] = None,
        gte: Annotated[Time, Query(alias="created_at[gte]")] = None,
        lt: Annotated[Time, Query(alias="created_at[lt]")] = None,
        lte: Annotated[Time, Query(alias="created_at[lte]")] = None,
    ) -> Json:
        """List the sessions, by default the newest first."""
        in_time = time_filter(gt=gt, gte=gte, lt=lt, lte=lte)
        among = {*(statuses or []), *(statuses_list or [])}

        def wanted(session: Json) -> bool:
            agent = session["agent"]
            return (
                (include_archived or not session["archived_at"])
                and agent_id in (None, agent["id"])
                and (agent_id is None or agent_version in (None, agent["version"]))
                and (not among or session["status"] in among)
                and in_time(session)
            )

        return await managed_of(request).sessions.page(
            owner_of(request), limit=limit, after=page, oldest_first=order == "asc", wanted=wanted
        )

    @routes.get("/{session_id}")
    async def retrieve_session(request: Request, session_id: str) -> Json:
        """Return a session with its status and its usage."""
        return await managed_of(request).sessions.show(named_session(request, session_id))

    @routes.post("/{session_id}")
    async def update_session(request: Request, session_id: str, body: SessionChanges) -> Json:
        """Change a session's title, metadata or tools."""
        return await managed_of(request).sessions.update(
            SessionName(owner_of(request), session_id), body
        )

    @routes.post("/{session_id}/archive")
    async def archive_session(request: Request, session_id: str) -> Json:
        """Archive a session: it takes no more events."""
        return await managed_of(request).sessions.archive(named_session(request, session_id))

    @routes.delete("/{session_id}")
    async def delete_session(request: Request, session_id: str) -> Json:
        """Delete a session with its events."""
        return await managed_of(request).sessions.delete(named_session(request, session_id))


def add_events(routes: APIRouter) -> None:
    @routes.post("/{session_id}/events")
    async def send_events(request: Request, session_id: str, body: EventsBody) -> Json:
        """Send messages, an interrupt, or the confirmation of a tool call to a session."""
        caller = context_of(request.scope).admitted
        check_interrupts(request, body.events)
        return await managed_of(request).events.send(
            named_session(request, session_id), body.events, caller
        )

    @routes.get("/{session_id}/events")
    async def list_events(
        request: Request,
        session_id: str,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        page: Cursor = None,
        order: Literal["asc", "desc"] = "asc",
        types: Annotated[list[str] | None, Query()] = None,
        types_list: Annotated[list[str] | None, Query(alias="types[]")] = None,
        gt: Annotated[Time, Query(alias="created_at[gt]")] = None,
        gte: Annotated[Time, Query(alias="created_at[gte]")] = None,
        lt: Annotated[Time, Query(alias="created_at[lt]")] = None,
        lte: Annotated[Time, Query(alias="created_at[lte]")] = None,
    ) -> Json:
        """List the events of a session, by default the oldest first."""
        in_time = time_filter(gt=gt, gte=gte, lt=lt, lte=lte, field="processed_at")
        among = {*(types or []), *(types_list or [])}
        return await managed_of(request).events.page(
            named_session(request, session_id),
            limit=limit,
            after=page,
            oldest_first=order == "asc",
            wanted=lambda event: (not among or event["type"] in among) and in_time(event),
        )

    @routes.get("/{session_id}/events/stream", response_model=None)
    async def stream_events(
        request: Request, session_id: str, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Stream the events of a session from now on, or behind `Last-Event-ID`."""
        frames = await managed_of(request).events.open_stream(
            named_session(request, session_id), last_event_id
        )
        return Live(parts_of(request).active_requests, frames, ping=lambda: PING)
