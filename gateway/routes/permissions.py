"""`/permissions`: the requests of tools, and their answers. The permission service decides; the
routes only pass on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.responses import Response

from gateway.pages.files import render_page
from gateway.routes.logs import run_question
from gateway.routes.parts import parts_of
from gateway.routes.permission_client import PermissionClient
from gateway.server.context import context_of
from gateway.server.guard import Caller
from gateway.server.live import Live
from gateway.server.signed_in import cookie_given
from shared.bus.channels import LogsQuery, RecordedOutcome
from shared.permissions.answer_links import link_digest
from shared.permissions.deciders import BY_LOCAL
from shared.runtime.bounds import Document
from shared.runtime.exact_json import dump_json

PAGE = frozenset(
    {
        "permissions.html",
        "permissions.js",
        "permissions.css",
        "notices.js",
        "requests.js",
        "requests.css",
        "profiles.js",
        "profiles.css",
        "dom.js",
        "signals.js",
        "push.js",
        "icon.svg",
        "icon-192.png",
        "icon-512.png",
    }
)
INSTALLING = frozenset({"manifest.webmanifest", "service-worker.js"})

ANY_PAGE = {"access-control-allow-origin": "*"}


class AnswerBody(BaseModel):
    """An answer to a permission request.

    `remember` is `{"scope": "session" | "caller" | "always"}`, with a `rule` in place of the
    suggested rule. `browser` is the id of the subscribed browser that answers; it gets no message
    of the outcome.
    """

    model_config = ConfigDict(extra="forbid")

    allowed: StrictBool
    message: str = ""
    updated_input: Document | None = None
    remember: Document | None = None
    browser: str = ""


class ReplayBody(BaseModel):
    """A rules file to try out: `rules`, its TOML text, and the number of `days` to look back."""

    model_config = ConfigDict(extra="forbid")

    rules: str
    days: float = Field(30, gt=0, le=366)


class PreviewBody(BaseModel):
    """The `remember` of an answer that allows, as in `AnswerBody`."""

    model_config = ConfigDict(extra="forbid")

    remember: Document


class ProfilesBody(BaseModel):
    """The profiles in force: `active`, and `while_away`, those in force while the owner is away. A
    missing list stays as it is.
    """

    model_config = ConfigDict(extra="forbid")

    active: list[str] | None = None
    while_away: list[str] | None = None


class SubscriptionBody(BaseModel):
    """A browser's `subscription` to messages, as `PushSubscription.toJSON()` returns it."""

    model_config = ConfigDict(extra="forbid")

    subscription: Document


class AwayBody(BaseModel):
    """A change of the owner's presence: `on`, `off`, `for` a number of seconds, or `daily` in a
    window like `22:00-07:00` (empty: no longer).
    """

    model_config = ConfigDict(extra="forbid")

    state: Literal["on", "off", "for", "daily"]
    seconds: float | None = None
    window: str | None = None


@cache
def permissions_router() -> APIRouter:
    """Return the routes, built once in a process. Fixed addresses come before `/{request_id}`,
    which would match fixed addresses too.
    """
    routes = APIRouter(prefix="/permissions", tags=["permissions"])
    add_views(routes)
    add_rules(routes)
    add_profiles(routes)
    add_presence(routes)
    add_notifications(routes)
    add_page(routes)
    add_prompts(routes)
    return routes


async def ask(request: Request, verb: str, parameters: dict[str, Any]) -> Response:
    """Return the permission service's answer to `verb`, asked by the caller of `request`."""
    caller: Caller = context_of(request.scope).admitted
    answer = await parts_of(request).permissions.question(
        verb, caller.name or BY_LOCAL, parameters, may_ask=caller.may_ask
    )
    return Response(answer, media_type="application/json")


def add_views(routes: APIRouter) -> None:
    @routes.get("/stream", response_model=None)
    async def stream(
        request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Stream the events of permission requests. `Last-Event-ID` resumes a broken stream;
        without the header all pending requests come first.
        """
        after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
        parts = parts_of(request)
        return Live(
            parts.active_requests,
            events(parts.permissions, after),
            ping=lambda: named_event("ping", {"message": "keepalive"}),
        )

    @routes.get("/log")
    async def log(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        tool_name: str | None = None,
        caller: str | None = None,
        outcome: RecordedOutcome | None = None,
    ) -> dict[str, Any]:
        """Return all past requests with their outcomes, and changes of profiles (`switched`),
        latest first.
        """
        given = {"limit": limit, "tool_name": tool_name, "caller": caller, "outcome": outcome}
        return await run_question(
            parts_of(request).bus,
            LogsQuery("permissions", {key: value for key, value in given.items() if value}),
        )


def add_rules(routes: APIRouter) -> None:
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

    @routes.post("/rules/replay", response_model=None)
    async def replay(request: Request, tried: ReplayBody) -> Response:
        """Decide past requests again with another rules file, and return the differences. Nothing
        changes.
        """
        return await ask(request, "replay", tried.model_dump())

    @routes.delete("/rules/{rule_id}", response_model=None)
    async def remove_rule(request: Request, rule_id: str) -> Response:
        """Revoke a rule. Past calls that the rule allowed are not undone."""
        return await ask(request, "remove_rule", {"id": rule_id})

    @routes.post("/rules/{rule_id}/restore", response_model=None)
    async def restore_rule(request: Request, rule_id: str) -> Response:
        """Restore a removed built-in rule."""
        return await ask(request, "restore_rule", {"id": rule_id})


def add_profiles(routes: APIRouter) -> None:
    @routes.get("/profiles", response_model=None)
    async def list_profiles(request: Request) -> Response:
        """List the profiles with their rules, those in force, and who changed them when."""
        return await ask(request, "profiles", {})

    @routes.post("/profiles", response_model=None)
    async def switch_profiles(request: Request, choice: ProfilesBody) -> Response:
        """Put other profiles in force at once. Waiting requests are decided by the new rules."""
        return await ask(request, "set_profiles", choice.model_dump())

    @routes.post("/profiles/{name}/copy", response_model=None)
    async def copy_profile(request: Request, name: str) -> Response:
        """Write a built-in profile into the rules file, where its rules can be changed."""
        return await ask(request, "copy_profile", {"name": name})


def add_presence(routes: APIRouter) -> None:
    @routes.get("/away", response_model=None)
    async def show_away(request: Request) -> Response:
        """Return the owner's presence: `away`, `until`, `window`, and `asks`, the setting."""
        return await ask(request, "presence", {})

    @routes.post("/away", response_model=None)
    async def set_away(request: Request, change: AwayBody) -> Response:
        """Change the owner's presence. Back at the desk, waiting hooks are left to their agents."""
        return await ask(request, "set_away", change.model_dump())


def add_notifications(routes: APIRouter) -> None:
    @routes.get("/notices", response_model=None)
    async def list_notices(request: Request) -> Response:
        """List the latest notices, latest first: alerts, and agents that wait or are done."""
        return await ask(request, "notices", {})

    @routes.post("/notifications/test", response_model=None)
    async def try_notifications(request: Request) -> Response:
        """Send a test message by every configured way, and return what came back of each."""
        return await ask(request, "try_notifications", {})

    @routes.get("/notifications/key", response_model=None)
    async def push_key(request: Request) -> Response:
        """Return `key`, the public key with which a page of ours subscribes its browser."""
        return await ask(request, "push_key", {})

    @routes.get("/notifications/browsers", response_model=None)
    async def list_browsers(request: Request) -> Response:
        """List the browsers that have subscribed with the request's token; the owner sees all."""
        return await ask(request, "browsers", {})

    @routes.post("/notifications/browsers", response_model=None)
    async def add_browser(request: Request, body: SubscriptionBody) -> Response:
        """Subscribe the browser of a signed-in page to messages, and return its `id`. The same
        address again renews it.
        """
        context = context_of(request.scope)
        given = {
            "subscription": body.subscription,
            "digest": context.admitted.digest,
            "page": context.headers.get(b"origin", b"").decode("latin-1"),
            "user_agent": context.headers.get(b"user-agent", b"").decode("latin-1"),
        }
        return await ask(request, "add_browser", given)

    @routes.delete("/notifications/browsers/{browser_id}", response_model=None)
    async def remove_browser(request: Request, browser_id: str) -> Response:
        """End the messages to a browser of the request's token; the owner may end any."""
        return await ask(request, "remove_browser", {"id": browser_id})

    @routes.post("/answer/{token}", response_model=None)
    async def answer_link(request: Request, token: str) -> Response:
        """Answer a request by the one-time link of a notification: its one request, with its one
        answer. 410 for a link that is used up, or whose request has ended.
        """
        digest = link_digest(token)
        client = parts_of(request).permissions
        answer = await client.question("answer_link", "", {"digest": digest})
        # ntfy's web page reads the status; the answer tells a page nothing that the link did not.
        return Response(answer, media_type="application/json", headers=ANY_PAGE)


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
        """Return a script, a style sheet or an icon of the page."""
        return render_page(name, PAGE)

    @routes.get("/manifest.webmanifest", response_model=None)
    async def manifest() -> Response:
        """Return the manifest, by which a phone installs the page."""
        return render_page("manifest.webmanifest", INSTALLING)

    # Beside the page and not below it: a service worker reaches the addresses under its own folder.
    @routes.get("/service-worker.js", response_model=None)
    async def service_worker() -> Response:
        """Return the page's service worker, which shows a notice while the phone is offline."""
        return render_page("service-worker.js", INSTALLING)


def add_prompts(routes: APIRouter) -> None:
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

    @routes.post("/{request_id}/preview", response_model=None)
    async def preview(request: Request, request_id: str, about: PreviewBody) -> Response:
        """Return the calls of the last 30 days that the rule of an answer would have allowed:
        `count`, and up to five `examples`.
        """
        return await ask(request, "preview", {"request_id": request_id, **about.model_dump()})


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
