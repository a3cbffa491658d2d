"""`/permissions`: the requests of tools, and their answers. The permission service decides; the
routes only pass on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, StrictBool
from starlette.responses import Response

from gateway.pages.files import render_page
from gateway.proxy.active_requests import ActiveRequests
from gateway.routes.logs import run_question
from gateway.routes.permission_client import PermissionClient
from gateway.server.context import context_of
from gateway.server.guard import Caller
from gateway.server.live import Live
from gateway.server.signed_in import cookie_given
from shared.bus import Bus
from shared.bus.channels import LogsQuery, Outcome
from shared.runtime.bounds import Document
from shared.runtime.exact_json import dump_json

PAGE = frozenset(
    {"permissions.html", "permissions.js", "permissions.css", "requests.js", "requests.css"}
)


class AnswerBody(BaseModel):
    """An answer to a permission request.

    `remember` is `{"scope": "session" | "caller" | "always"}`, with a `rule` in place of the
    suggested rule.
    """

    model_config = ConfigDict(extra="forbid")

    allowed: StrictBool
    message: str = ""
    updated_input: Document | None = None
    remember: Document | None = None


Ask = Callable[[Request, str, dict[str, Any]], Awaitable[Response]]


def router(bus: Bus, active_requests: ActiveRequests) -> APIRouter:
    """Return the routes. Fixed addresses come before `/{request_id}`, which would match fixed
    addresses too.
    """
    routes = APIRouter(prefix="/permissions", tags=["permissions"])
    client = PermissionClient(bus)

    async def ask(request: Request, verb: str, parameters: dict[str, Any]) -> Response:
        caller: Caller = context_of(request.scope).admitted
        answer = await client.question(
            verb, caller.name or "local", parameters, may_ask=caller.may_ask
        )
        return Response(answer, media_type="application/json")

    add_views(routes, bus, client, active_requests)
    add_rules(routes, ask)
    add_page(routes)
    add_prompts(routes, ask)
    return routes


def add_views(
    routes: APIRouter, bus: Bus, client: PermissionClient, active_requests: ActiveRequests
) -> None:
    @routes.get("/stream", response_model=None)
    async def stream(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Stream the events of permission requests. `Last-Event-ID` resumes a broken stream;
        without the header all pending requests come first.
        """
        after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
        return Live(
            active_requests,
            events(client, after),
            ping=lambda: named_event("ping", {"message": "keepalive"}),
        )

    @routes.get("/log")
    async def log(
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        tool_name: str | None = None,
        caller: str | None = None,
        outcome: Outcome | None = None,
    ) -> dict[str, Any]:
        """Return all past requests with their outcomes, latest first."""
        given = {"limit": limit, "tool_name": tool_name, "caller": caller, "outcome": outcome}
        return await run_question(
            bus, LogsQuery("permissions", {key: value for key, value in given.items() if value})
        )


def add_rules(routes: APIRouter, ask: Ask) -> None:
    @routes.get("/rules", response_model=None)
    async def list_rules(request: Request) -> Response:
        """List the rules in force; `problem`: why the rules file cannot be used; `notes`: which
        rules never apply.
        """
        return await ask(request, "rules", {})

    @routes.post("/rules", response_model=None)
    async def add_rule(request: Request, rule: Document) -> Response:
        """Add a rule: `effect`, `tool`, and `command`, `command_prefix`, `under` or `host`; by
        default for always.
        """
        return await ask(request, "add_rule", rule)

    @routes.post("/rules/explain", response_model=None)
    async def explain(request: Request, about: Document) -> Response:
        """Explain the decision on `request_id`, or the rules' decision on a `tool_name` and its
        `input`.
        """
        return await ask(request, "explain", about)

    @routes.delete("/rules/{rule_id}", response_model=None)
    async def remove_rule(request: Request, rule_id: str) -> Response:
        """Revoke a rule. Past calls that the rule allowed are not undone."""
        return await ask(request, "remove_rule", {"id": rule_id})

    @routes.post("/rules/{rule_id}/restore", response_model=None)
    async def restore_rule(request: Request, rule_id: str) -> Response:
        """Restore a removed built-in rule."""
        return await ask(request, "restore_rule", {"id": rule_id})


def add_page(routes: APIRouter) -> None:
    @routes.get("/ui", response_model=None)
    async def prompts_page(request: Request) -> Response:
        """Return the permission requests as a page, made for a phone."""
        return render_page(
            "permissions.html",
            PAGE,
            signed_in=bool(cookie_given(context_of(request.scope).headers)),
        )

    @routes.get("/ui/{name}", response_model=None)
    async def page_part(name: str) -> Response:
        return render_page(name, PAGE)


def add_prompts(routes: APIRouter, ask: Ask) -> None:
    @routes.get("", response_model=None)
    async def pending_and_recent(request: Request) -> Response:
        """List the pending requests, oldest first, and the recently answered requests, latest
        first.
        """
        return await ask(request, "list", {})

    @routes.get("/{request_id}", response_model=None)
    async def one(request: Request, request_id: str) -> Response:
        """Return a request and the request's state."""
        return await ask(request, "get", {"request_id": request_id})

    @routes.post("/{request_id}/respond", response_model=None)
    async def respond(request: Request, request_id: str, answer: AnswerBody) -> Response:
        """Answer a request. The first answer counts; a later answer gets 409 with the outcome."""
        return await ask(request, "decide", {"request_id": request_id, **answer.model_dump()})


async def events(client: PermissionClient, after: int | None) -> AsyncGenerator[bytes, None]:
    yield named_event("ping", {"message": "Connected to permission stream"})
    async for event in client.watch(after):
        if "synced" in event:
            yield named_event("ping", {"message": "synced"}, event["synced"])
        else:
            yield named_event(event["name"], event["data"], event["number"])


def named_event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    place = b"" if number is None else b"id: %d\n" % number
    return place + b"event: %s\ndata: %s\n\n" % (name.encode(), dump_json(data))
