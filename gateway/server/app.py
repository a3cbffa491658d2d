"""The parts of one gateway process put together: open resources, served addresses, and the order a
request passes.

AccessLog (id, guard, record) → Switch → an Exchange (plain ASGI, exact path)
                                       → FastAPI (management: health, metrics, logs)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from gateway.capture.captures import Captures
from gateway.managed.accounts import TokenAccounts
from gateway.managed.agents import ManagedAgents
from gateway.managed.environments import ManagedEnvironments
from gateway.managed.events import SessionEvents
from gateway.managed.journal import SessionJournals
from gateway.managed.objects import ManagedObjects
from gateway.managed.runner import SessionRunner
from gateway.managed.sessions import ManagedSessions
from gateway.managed.turns import ManagedTurns
from gateway.metering.billing_order import BillingOrders
from gateway.metering.list_price import ListPrice
from gateway.metering.logins import SharedLogins
from gateway.metering.quota import Quotas
from gateway.metering.records import Records
from gateway.metering.spool import Spool
from gateway.metering.token_ledger import TokenLedger
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
from gateway.proxy.stored.continuation import Continuations
from gateway.proxy.stored.conversations import Conversations
from gateway.proxy.stored.memory import ResponseMemory
from gateway.proxy.translated import Translated
from gateway.routes.captures import captures_router
from gateway.routes.claude import claude_endpoints
from gateway.routes.codex import codex_endpoints, codex_router
from gateway.routes.dashboard import dashboard_router
from gateway.routes.docs import docs_router
from gateway.routes.hooks import hooks_router
from gateway.routes.logs import logs_router
from gateway.routes.managed_agents import managed_agents_router
from gateway.routes.managed_sessions import all_sessions_router, managed_sessions_router
from gateway.routes.managed_unserved import managed_unserved_router
from gateway.routes.mcp import mcp_router
from gateway.routes.models import models_router
from gateway.routes.oauth import oauth_router
from gateway.routes.pairing import pairing_router
from gateway.routes.parts import ManagedParts, RouteParts
from gateway.routes.permission_client import PermissionClient
from gateway.routes.permissions import permissions_router
from gateway.routes.responses import responses_router
from gateway.routes.sdk import sdk_endpoints, sdk_router, workers_router
from gateway.routes.signin import signin_router
from gateway.routes.status import status_router
from gateway.routes.system import system_router
from gateway.routes.usage import usage_router
from gateway.routes.waiting import waiting_router
from gateway.server.access_log import AccessLog
from gateway.server.asgi import ASGIApp
from gateway.server.bodies import WholeBody
from gateway.server.guard import Guard
from gateway.server.management import build_management
from gateway.server.pairings import Pairings
from gateway.server.problems import Dialect
from gateway.server.request_line import RequestLines
from gateway.server.switch import Switch
from gateway.waiting.front import open_front
from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.claude import spare_claude_key
from shared.accounts.codex import spare_codex_key
from shared.accounts.codex_profile import CodexProfile
from shared.accounts.prices import FETCHED_PRICES
from shared.bus import Bus
from shared.bus.bounded import BoundedStore
from shared.bus.channels import AccessRecord
from shared.bus.session_store import open_session_store
from shared.formats.registry import FORMATS
from shared.runtime.metrics import LineMetrics, Metrics, WaitingMetrics
from shared.runtime.process import instance_name
from shared.runtime.tracing import open_tracer
from shared.settings.servers import ServerSettings
from shared.settings.tree import (
    ObservabilitySettings,
    ResponsesSettings,
    SdkSettings,
    Settings,
    captures_dir,
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of an open gateway that the process uses: the application, and the register of
    active requests to stop.
    """

    app: ASGIApp
    active_requests: ActiveRequests
    metrics: Metrics
    quotas: Quotas
    orders: BillingOrders


def active_requests_of(server: ServerSettings) -> ActiveRequests:
    """Return the register of active requests, with the timeouts and the memory limit of the
    settings.
    """
    timeouts = Timeouts(
        body=server.body_timeout_seconds,
        first_byte=server.first_byte_timeout_seconds,
        idle=server.idle_timeout_seconds,
        ping=server.ping_interval_seconds,
    )
    return ActiveRequests(timeouts, server.max_bodies_bytes)


@asynccontextmanager
async def open_gateway(
    settings: Settings, bus: Bus, before: Gateway | None = None, upstream: Upstream | None = None
) -> AsyncIterator[Gateway]:
    """Open a gateway: providers, clock and records. Counters and quotas of `before` go on.
    `upstream` stands in for the connections to the providers.
    """
    metrics, known = (before.metrics, before.quotas) if before else (Metrics(), None)
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(ClaudeAccount(settings.claude))
        openai = await stack.enter_async_context(CodexAccount(settings.codex))
        upstream = await stack.enter_async_context(
            upstream or Upstream(connect_timeout=settings.server.connect_timeout_seconds)
        )
        active_requests = await stack.enter_async_context(active_requests_of(settings.server))
        quotas = await stack.enter_async_context(Quotas(bus, settings.quota, metrics, known))
        await stack.enter_async_context(
            SharedLogins(bus, instance_name(), {"claude": account, "codex": openai})
        )
        tracer = await stack.enter_async_context(
            open_tracer(settings.observability, service="gateway", instance=instance_name())
        )
        captures = await stack.enter_async_context(captures_of(settings))
        ledger, orders = await open_spending(stack, settings, bus, quotas, before)
        guard = Guard(settings.server, settings.security)
        front = await stack.enter_async_context(
            open_front(
                settings,
                bus,
                metrics.part(WaitingMetrics),
                quotas.known_of,
                guard.tokens.is_valid,
            )
        )
        memory = ReasoningMemory(bus)
        continuations, conversations = open_stored(bus, settings.responses)

        def exchange(dialect: Dialect, provider: Provider, path: str) -> Exchange:
            """Return the endpoint for a client's format on a provider; same formats pass bytes."""
            fixed = (
                dialect,
                front.of(provider),
                path,
                active_requests,
                largest_body(settings, provider),
            )
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
        direct = Claude(settings, account, upstream, quotas.of("claude"), orders.of("claude"))
        profile = CodexProfile(settings.codex)
        chatgpt = Codex(settings, openai, upstream, quotas.of("codex"), profile, orders.of("codex"))
        for closing in (direct.catalogue, chatgpt.catalogue, profile):
            stack.callback(closing.close)
        through_sdk = Sdk(
            bus,
            direct.catalogue,
            quotas.of("claude"),
            metrics.part(LineMetrics),
            **waiting_limits(settings),
        )
        endpoints = claude_endpoints(exchange, direct, active_requests, settings.server)
        endpoints |= sdk_endpoints(exchange, through_sdk, estimated(through_sdk))
        records = await stack.enter_async_context(records_of(settings.observability, bus, metrics))
        routers = [
            system_router(
                settings,
                bus,
                account,
                openai,
                metrics,
                continuations.uses,
                guard.tokens,
                orders,
                front.waiting,
            ),
            logs_router(),
            pairing_router(guard, Pairings(bus, guard.tokens.all)),
            permissions_router(),
            mcp_router(bus, active_requests, largest),
            hooks_router(bus, active_requests, largest),
            oauth_router(settings),
            captures_router(),
            usage_router(bus, quotas, ledger, orders, guard.tokens, monthly_prices(settings)),
            waiting_router(front.waiting),
            *(dashboard_router(settings.observability), docs_router(), signin_router(guard)),
            sdk_router(bus, open_session_store(bus, settings.sdk)),
            workers_router(bus),
            managed_agents_router(),
            managed_sessions_router(),
            all_sessions_router(),
            managed_unserved_router(),
            responses_router(),
            status_router(settings, bus, direct.catalogue),
            *(
                models_router(prefix, direct.catalogue, settings.models.aliases)
                for prefix in ("/api", "/sdk")
            ),
        ]
        if settings.codex.enabled:
            endpoints |= codex_endpoints(
                exchange, chatgpt, estimated(chatgpt), active_requests, largest
            )
            routers.append(codex_router(chatgpt, openai, settings.models.aliases))
        management, addresses = build_management(
            endpoints,
            RouteParts(
                bus,
                active_requests,
                settings.observability,
                PermissionClient(bus),
                continuations,
                conversations,
                await open_managed(
                    stack,
                    bus,
                    settings.sdk,
                    through_sdk,
                    active_requests,
                    TokenAccounts(guard.tokens, ledger, metrics, records),
                ),
                captures,
                guard.tokens,
                endpoints,
            ),
            *routers,
        )
        app = AccessLog(
            Switch(endpoints, WholeBody(management, active_requests, largest), addresses),
            guard,
            metrics,
            ledger,
            records,
            tracer,
            stack.enter_context(RequestLines()),
            orders.count,
            captures,
        )
        yield Gateway(app, active_requests, metrics, quotas, orders)


def passes_through(dialect: Dialect, provider: Provider) -> bool:
    """Return True if `provider` takes the client's own format as it is; the workers of `/sdk` take
    Messages.
    """
    return FORMATS[dialect] is provider.speaks or (
        dialect == "anthropic" and isinstance(provider, Sdk)
    )


async def open_managed(
    stack: AsyncExitStack,
    bus: Bus,
    sdk: SdkSettings,
    provider: Sdk,
    active_requests: ActiveRequests,
    accounts: TokenAccounts,
) -> ManagedParts:
    """Return the managed agents, environments and sessions; `stack` ends their work."""
    objects = ManagedObjects(bus, limit=sdk.max_managed_bytes)
    agents = ManagedAgents(objects)
    environments = ManagedEnvironments(objects, sdk.working_roots)
    journals = SessionJournals(objects)
    sessions = ManagedSessions(objects, journals, agents, environments)
    turns = ManagedTurns(
        provider, sessions, journals, active_requests, accounts, PermissionClient(bus)
    )
    runner = await stack.enter_async_context(SessionRunner(bus, journals, turns))
    events = SessionEvents(sessions, journals, runner)
    return ManagedParts(agents, environments, sessions, events)


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


def monthly_prices(settings: Settings) -> dict[str, float]:
    """Return the dollars a month of each subscription whose price the owner has set."""
    given = {"claude": settings.claude.monthly_usd, "codex": settings.codex.monthly_usd}
    return {provider: usd for provider, usd in given.items() if usd is not None}


def captures_of(settings: Settings) -> Captures:
    """Return the unopened captures of this process, in the directory that all gateways share."""
    limits = settings.capture
    return Captures(captures_dir(settings), limits.store_bytes, limits.body_bytes)


async def open_spending(
    stack: AsyncExitStack, settings: Settings, bus: Bus, quotas: Quotas, before: Gateway | None
) -> tuple[TokenLedger, BillingOrders]:
    """Open in `stack` the ledger of tokens and the billing orders, with the price list that
    analytics uses too. The orders of `before` go on.
    """
    price = ListPrice(settings.observability.duckdb_path.with_name(FETCHED_PRICES)).of
    ledger = await stack.enter_async_context(TokenLedger(bus, price, quotas.known_of))
    known = before.orders if before else None
    orders = await stack.enter_async_context(orders_of(settings, bus, price, known))
    return ledger, orders


def orders_of(
    settings: Settings,
    bus: Bus,
    price: Callable[[AccessRecord], float],
    before: BillingOrders | None,
) -> BillingOrders:
    """Return the unopened billing orders that the settings ask for; those of `before` go on."""
    keys = {
        "claude": (spare_claude_key(settings.claude), settings.claude.when_used_up.usd_per_day),
        "codex": (spare_codex_key(settings.codex), settings.codex.when_used_up.usd_per_day),
    }
    armed = {name: (key, limit) for name, (key, limit) in keys.items() if key and limit}
    return BillingOrders(bus, price, armed, settings.server.workers, before)


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
    return Records(bus, metrics, spool, read_prompts=settings.prompt_insight)
