"""The parts of one gateway process put together: open resources, served addresses, and the order a
request passes.

AccessLog (id, guard, record) → Switch → an Exchange (plain ASGI, exact path)
                                       → FastAPI (management: health, metrics, logs)
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.metering.quota import Quotas
from gateway.metering.records import Records
from gateway.metering.spool import Spool
from gateway.providers import Provider
from gateway.providers.claude import Claude
from gateway.providers.codex import Codex
from gateway.providers.http import Upstream
from gateway.providers.sdk import MAX_WAITING_BYTES, Sdk
from gateway.proxy.active_requests import ActiveRequests, Timeouts
from gateway.proxy.estimate import EstimateTokens
from gateway.proxy.exchange import Exchange, PassThrough
from gateway.proxy.native import NativeResponses
from gateway.proxy.reasoning import ReasoningMemory
from gateway.proxy.resources import Resource
from gateway.proxy.stored.continuation import Continuations
from gateway.proxy.stored.conversations import Conversations
from gateway.proxy.stored.memory import ResponseMemory
from gateway.proxy.translated import Translated
from gateway.routes import (
    claude,
    codex,
    dashboard,
    docs,
    logs,
    mcp,
    models,
    oauth,
    permissions,
    responses,
    sdk,
    signin,
    status,
    system,
    usage,
)
from gateway.server.access_log import AccessLog
from gateway.server.addresses import Addresses
from gateway.server.asgi import ASGIApp, Receive, Scope, Send
from gateway.server.bodies import WholeBody
from gateway.server.context import context_of
from gateway.server.guard import Guard
from gateway.server.openapi import describe_endpoints
from gateway.server.problems import Dialect, dialect_of, render_error
from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.codex_profile import CodexProfile
from shared.bus import Bus
from shared.bus.bounded import BoundedStore
from shared.formats.registry import FORMATS
from shared.runtime.errors import CCProxyError, ClientError, NotFound, UpgradeRefused
from shared.runtime.metrics import LineMetrics, Metrics
from shared.runtime.process import instance_name
from shared.runtime.tracing import open_tracer
from shared.runtime.version import VERSION
from shared.settings.servers import ServerSettings
from shared.settings.tree import ObservabilitySettings, ResponsesSettings, Settings

PARAMETER = re.compile(r"{(\w+)}")
OPAQUE_ID = "[A-Za-z0-9_-]{1,128}"
SEGMENTS = {"session_id": "[^/]+"}
POST_ONLY = frozenset({"POST"})
ALL_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of an open gateway that the process uses: the application, and the register of
    active requests to stop.
    """

    app: ASGIApp
    active_requests: ActiveRequests
    metrics: Metrics
    quotas: Quotas


class Switch:
    """Proxy routes by exact path, everything else to the management app: FastAPI's router would
    halve the speed.

    A path may name its conversation as `{session_id}`, or a resource by its id; such addresses are
    looked for last. HEAD is answered as GET without its body, OPTIONS with the methods of the
    address.
    """

    def __init__(
        self, endpoints: Mapping[str, ASGIApp], management: ASGIApp, addresses: Addresses
    ) -> None:
        self._endpoints = endpoints
        self._named = [
            (pattern_of(template), template) for template in endpoints if "{" in template
        ]
        self._management = management
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        method = scope["method"]
        if path not in self._endpoints and not (path := self._find(scope)):
            await self._manage(scope, receive, send)
        elif method in (methods := methods_of(self._endpoints[path])):
            context_of(scope).endpoint = path
            await self._endpoints[path](scope, receive, send)
        elif method == "HEAD" and "GET" in methods:  # the server leaves out the body
            context_of(scope).endpoint = path
            await self._endpoints[path]({**scope, "method": "GET"}, receive, send)
        elif context_of(scope).headers.get(b"upgrade", b"").lower() == b"websocket":
            raise UpgradeRefused(headers={"upgrade": "http/1.1"})
        else:
            await self._manage(scope, receive, send)

    async def _manage(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for an address without a proxy route, or with a method that no proxy
        route takes.
        """
        if scope["method"] == "HEAD":
            asked = {**scope, "method": "GET"}
            await self._management(asked, receive, send)
            scope["route"] = asked.get("route")
        elif scope["method"] == "OPTIONS" and (methods := self._methods(scope["path"])):
            headers = [(b"allow", allow(methods).encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._management(scope, receive, send)

    def _methods(self, path: str) -> frozenset[str]:
        """Return the methods that `path` takes; `*` stands for the whole server."""
        return ALL_METHODS if path == "*" else self._addresses.methods(path)

    def _find(self, scope: Scope) -> str:
        for pattern, template in self._named:
            if found := pattern.fullmatch(scope["path"]):
                scope["path_params"] = found.groupdict()
                return template
        return ""


def pattern_of(template: str) -> re.Pattern[str]:
    """Return the pattern of the paths that `template` serves: a session has any name, an id only an
    id's characters.
    """
    return re.compile(
        PARAMETER.sub(
            lambda found: f"(?P<{found[1]}>{SEGMENTS.get(found[1], OPAQUE_ID)})", template
        )
    )


def methods_of(endpoint: ASGIApp) -> frozenset[str]:
    """Return the methods of a proxy route."""
    return endpoint.methods if isinstance(endpoint, Resource) else POST_ONLY


def active_requests_of(server: ServerSettings) -> ActiveRequests:
    """Return the register of active requests, with the timeouts and the memory limit of the
    settings.
    """
    patience = Timeouts(
        body=server.body_timeout_seconds,
        first_byte=server.first_byte_timeout_seconds,
        idle=server.idle_timeout_seconds,
        ping=server.ping_interval_seconds,
    )
    return ActiveRequests(patience, server.max_bodies_bytes)


@asynccontextmanager
async def open_gateway(
    settings: Settings, bus: Bus, before: Gateway | None = None
) -> AsyncIterator[Gateway]:
    """Open a gateway: providers, clock and records. Counters and quotas of `before` go on."""
    metrics, known = (before.metrics, before.quotas) if before else (Metrics(), None)
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(ClaudeAccount(settings.claude))
        openai = await stack.enter_async_context(CodexAccount(settings.codex))
        upstream = await stack.enter_async_context(
            Upstream(connect_timeout=settings.server.connect_timeout_seconds)
        )
        active_requests = await stack.enter_async_context(active_requests_of(settings.server))
        quotas = await stack.enter_async_context(Quotas(bus, settings.quota, metrics, known))
        traced = open_tracer(settings.observability, service="gateway", instance=instance_name())
        tracer = await stack.enter_async_context(traced)
        records = await stack.enter_async_context(records_of(settings.observability, bus, metrics))
        memory = ReasoningMemory(bus)
        continuations, conversations = open_stored(bus, settings.responses)

        def exchange(dialect: Dialect, provider: Provider, path: str) -> Exchange:
            """Return the endpoint for a client's format on a provider; same formats pass bytes."""
            fixed = (dialect, provider, path, active_requests, largest_body(settings, provider))
            if passes_through(dialect, provider):
                return PassThrough(*fixed)
            if dialect == "openai_responses" and provider is chatgpt:
                return NativeResponses(*fixed, continuations)
            cache = "5m" if settings.models.cache_prompts and provider is direct else None
            if dialect == "openai_chat":
                return Translated(
                    *fixed, cache, memory, options={"reasoning": settings.models.chat_reasoning}
                )
            return Translated(
                *fixed,
                cache,
                continuations=continuations if dialect == "openai_responses" else None,
            )

        largest = settings.server.max_body_bytes
        estimated = partial(
            EstimateTokens,
            "anthropic",
            path="",
            active_requests=active_requests,
            max_body_bytes=largest,
        )
        direct = Claude(settings, account, upstream, quotas.of("claude"))
        profile = CodexProfile(settings.codex)
        chatgpt = Codex(settings, openai, upstream, quotas.of("codex"), profile)
        for closing in (direct.catalogue, chatgpt.catalogue, profile):
            stack.callback(closing.close)
        line = metrics.part(LineMetrics)
        through_sdk = Sdk(
            bus, direct.catalogue, quotas.of("claude"), line, **waiting_limits(settings)
        )
        endpoints = claude.claude_endpoints(exchange, direct, active_requests, settings.server)
        endpoints |= sdk.sdk_endpoints(exchange, through_sdk, estimated(through_sdk))
        guard = Guard(settings.server, settings.security)
        routers = [
            system.router(settings, bus, account, openai, metrics, continuations.use),
            logs.router(settings.observability, bus, active_requests),
            permissions.router(bus, active_requests),
            mcp.router(bus, active_requests, largest),
            oauth.router(settings),
            usage.router(bus, quotas),
            *(dashboard.router(settings.observability), docs.router(), signin.router(guard)),
            sdk.router(bus),
            responses.router(continuations, conversations),
            status.router(settings, bus, direct.catalogue),
            *(
                models.router(prefix, direct.catalogue, settings.models.aliases)
                for prefix in ("/api", "/sdk")
            ),
        ]
        if settings.codex.enabled:
            endpoints |= codex.codex_endpoints(
                exchange, chatgpt, estimated(chatgpt), active_requests, largest
            )
            routers.append(codex.router(chatgpt, openai, settings.models.aliases))
        management, addresses = build_management(endpoints, *routers)
        whole = WholeBody(management, active_requests, largest)
        app = AccessLog(Switch(endpoints, whole, addresses), guard, metrics, records, tracer)
        yield Gateway(app, active_requests, metrics, quotas)


def passes_through(dialect: Dialect, provider: Provider) -> bool:
    """Return True if `provider` takes the client's own format as it is; the workers of `/sdk` take
    Messages.
    """
    return FORMATS[dialect] is provider.speaks or (
        dialect == "anthropic" and isinstance(provider, Sdk)
    )


def open_stored(bus: Bus, settings: ResponsesSettings) -> tuple[Continuations, Conversations]:
    """Return the stores of responses and conversations over `bus`."""
    store = BoundedStore(
        bus, "stored", lifetime=settings.lifetime_hours * 3600, limit=settings.bytes_per_token
    )
    memory = ResponseMemory(store)
    conversations = Conversations(store, memory)
    continuations = Continuations(memory, conversations, lambda: bus.connected, settings.enabled)
    return continuations, conversations


def waiting_limits(settings: Settings) -> dict[str, int]:
    """Return the limits of requests that wait for an SDK worker: their number, and the bytes of one
    gateway; Redis holds all waiting requests.
    """
    return {
        "max_waiting": settings.sdk.max_waiting,
        "max_waiting_bytes": max(
            settings.sdk.max_body_bytes, MAX_WAITING_BYTES // settings.server.workers
        ),
    }


def largest_body(settings: Settings, provider: Provider) -> int:
    """Return the largest body, in bytes, of a request to `provider`; requests to `/sdk` travel over
    the bus.
    """
    largest = settings.server.max_body_bytes
    return min(largest, settings.sdk.max_body_bytes) if isinstance(provider, Sdk) else largest


def records_of(
    settings: ObservabilitySettings, bus: Bus, metrics: Metrics
) -> AbstractAsyncContextManager[Records | None]:
    """Return an unopened Records for the process; a context that yields None when no records are
    kept.
    """
    if not (settings.enabled and settings.logs_collection_enabled):
        return nullcontext()
    spool = (
        Spool(settings.duckdb_path.with_name("spool"), settings.spool_bytes)
        if settings.spool_bytes
        else None
    )
    return Records(bus, metrics, spool)


def build_management(
    endpoints: Mapping[str, ASGIApp], *routers: APIRouter
) -> tuple[FastAPI, Addresses]:
    """Return the application of all but the proxy routes, and the addresses of both."""
    app = FastAPI(
        title="CCProxy", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(CCProxyError, show_problem)
    app.add_exception_handler(RequestValidationError, show_invalid)
    describe_endpoints(app, endpoints)
    pages: dict[str, set[str]] = {}
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute) and not route.include_in_schema:
            pages.setdefault(route.path, set()).update(route.methods or ())
    addresses = Addresses(app.openapi, pages)  # `app.openapi` as replaced by describe_endpoints
    app.add_exception_handler(HTTPException, partial(show_http_error, addresses=addresses))
    return app, addresses


async def show_problem(request: Request, error: Exception) -> Response:
    record = context_of(request.scope).record
    known = error if isinstance(error, CCProxyError) else CCProxyError()
    record.error_kind = known.kind
    record.error_message = known.message
    problem = render_error(known, dialect_of(request.url.path), record.request_id)
    response = Response(problem.body, problem.status)
    response.raw_headers = problem.headers
    return response


async def show_http_error(request: Request, error: Exception, addresses: Addresses) -> Response:
    """Return Starlette's own refusals (no such address, wrong method) in our words and the path's
    dialect.
    """
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.url.path
    method = context_of(request.scope).record.method
    methods = addresses.methods(path)
    if status == 404 and methods and method not in methods:
        status = 405
    if status == 405:
        said = error.headers or {} if isinstance(error, HTTPException) else {}
        taken = allow(methods) or said.get("Allow", "")
        known: CCProxyError = ClientError(
            f"{method} {path}: this address does not take {method}; it takes {taken}.",
            headers={"allow": taken},
        )
    elif status == 404:
        known = NotFound(
            f"{method} {path}: there is nothing at this address; {advice_for(path, addresses)}"
        )
    else:
        detail = error.detail if isinstance(error, HTTPException) else "cannot be served"
        known = ClientError(f"{method} {path}: {detail}.")
    known.status = status
    return await show_problem(request, known)


def advice_for(path: str, addresses: Addresses) -> str:
    """Return advice for a request to an address that does not exist: most often a base address is
    wrong.
    """
    if meant := addresses.meant(path):
        return f"{' or '.join(meant)} is probably meant. Correct the base address of your client."
    return "GET /docs lists what is served."


def allow(methods: Iterable[str]) -> str:
    """Return the value of `Allow` for `methods`."""
    return ", ".join(sorted(methods))


async def show_invalid(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(
        ".".join(map(str, problem["loc"][1:])) + f": {problem['msg']}" for problem in problems
    )
    return await show_problem(request, ClientError(named or "The request cannot be understood."))
