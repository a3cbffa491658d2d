"""`/health` and `/metrics`: working parts, failed parts, and the remedies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gateway.metering.billing_order import BillingOrders
from gateway.server.context import context_of
from gateway.server.guard import LOCAL_CALLER
from gateway.server.known_tokens import KnownTokens
from gateway.waiting.waiting_list import WaitingEntry, WaitingList
from shared.accounts.account import Account
from shared.accounts.routes import RouteCredential, credentials_of_routes
from shared.bus import Bus
from shared.bus.bounded import Use
from shared.runtime.errors import BusUnavailable, NotFound
from shared.runtime.metric_snapshots import (
    CONTENT_TYPE,
    SNAPSHOT_PREFIX,
    render_metrics,
    snapshot_key,
)
from shared.runtime.metrics import BusMetrics, Metrics
from shared.runtime.process import instance_name
from shared.runtime.times import iso_time, minute_in_utc
from shared.runtime.version import VERSION
from shared.settings.tree import Settings

SERVICES = ("sdk_worker", "permission_service", "analytics")
NO_CACHE = {"cache-control": "no-cache, no-store, must-revalidate"}
HEALTH_TYPE = "application/health+json"
WORST = {"pass": 0, "warn": 1, "fail": 2}

# The names of the checks, as the first ccproxy had them, by provider.
CREDENTIAL_CHECKS = {"claude": "oauth2_credentials", "openai": "codex_credentials"}

Check = dict[str, Any]
Checks = dict[str, Check | list[Check]]
StoredUses = Callable[[Sequence[str]], Awaitable[dict[str, Use]]]


def system_router(
    settings: Settings,
    bus: Bus,
    claude: Account,
    chatgpt: Account,
    metrics: Metrics,
    stored_uses: StoredUses,
    tokens: KnownTokens,
    orders: BillingOrders,
    waiting: WaitingList,
) -> APIRouter:
    """Return the routes of health and metrics. `stored_uses` returns how much the stored responses
    of each of the `tokens` use.
    """
    routes = APIRouter(tags=["system"])
    seen = metrics.part(BusMetrics)

    @routes.get("/health/live")
    async def live(request: Request) -> JSONResponse:
        """Return 200 while the process runs. Without a token of the scope `admin` only the status
        is returned.
        """
        return health(request, "pass", "The gateway is running.", {})

    @routes.get("/health/ready")
    async def ready(request: Request) -> JSONResponse:
        """Return 200 once the bus and every service are there, else 503; the scope `admin` also
        sees the missing parts.
        """
        checks = await service_checks(bus, settings)
        status = worst(checks)
        missing = [check["output"] for check in each_check(checks) if check["status"] == "fail"]
        output = " ".join(missing) or "Everything is ready."
        return health(request, status, output, checks, 503 if status == "fail" else 200)

    @routes.get("/health")
    async def whole(request: Request) -> JSONResponse:
        """Return the health of the stack: `status` for everybody, each part and no secret for the
        scope `admin`.
        """
        checks = credential_checks(await credentials_of_routes(settings, claude, chatgpt))
        checks |= await service_checks(bus, settings)
        checks |= order_checks(orders)
        checks |= await stored_check(settings, stored_uses, tokens)
        checks |= waiting_check(await waiting.all())
        return health(request, worst(checks), "CCProxy API Server", checks)

    @routes.get("/metrics")
    async def measured() -> Response:
        """Return every process's metrics in one Prometheus text; only the gateway's own while the
        bus is away.
        """
        if off := settings.observability.switched_off("metrics_endpoint_enabled"):
            raise NotFound(f"The metrics endpoint is switched off ({off}).")
        try:
            snapshots = await bus.scan(SNAPSHOT_PREFIX)
            seen.connected.set(1)
        except BusUnavailable:
            snapshots = {}
            seen.connected.set(0)
        snapshots[snapshot_key("gateway", instance_name())] = await asyncio.to_thread(
            metrics.snapshot
        )
        return Response(await asyncio.to_thread(render_metrics, snapshots), media_type=CONTENT_TYPE)

    return routes


def credential_checks(credentials: list[RouteCredential]) -> Checks:
    """Return one check for each route, under the name of its provider's credentials."""
    found: dict[str, list[Check]] = {}
    for each in credentials:
        state = each.state
        facts = {
            "route": each.route,
            "billed_to": state.billed_to or None,
            "credentials_path": state.source,
        }
        if state.expires_at is not None:
            facts |= {
                "expiration": iso_time(state.expires_at),
                "subscription_type": state.subscription,
            }
        checks = found.setdefault(CREDENTIAL_CHECKS[each.provider], [])
        checks.append(health_check(each.status, state.output, **facts))
    return {**found}


async def service_checks(bus: Bus, settings: Settings) -> Checks:
    """Return a check for the bus and for every service that should be running."""
    try:
        processes = await bus.processes()
    except BusUnavailable as error:
        return {"bus": health_check("fail", error.message)}
    found: Checks = {"bus": health_check("pass", "Redis answers.")}
    for service in SERVICES:
        if service == "sdk_worker" and settings.sdk.workers == 0:
            continue
        alive = [process for process in processes if process["service"] == service]
        found[service] = service_check(service, alive)
    return found


def order_checks(orders: BillingOrders) -> Checks:
    """Return a check for each API key that pays after a subscription; none where no key does."""
    found: list[Check] = []
    for order in orders.all():
        facts = order.describe()
        is_spent = facts["spent_today_usd"] >= facts["usd_per_day"]
        state = "is at its limit" if is_spent else "pays while a window is used up"
        output = f"The API key of {order.provider} {state}: {order.limit_words()}."
        found.append(health_check("warn" if is_spent else "pass", output, **facts))
    return {"billing_order": found} if found else {}


async def stored_check(settings: Settings, stored_uses: StoredUses, known: KnownTokens) -> Checks:
    """Return a check with the amount of stored Responses for each token; no check while none is or
    can be stored.

    To be near the limit is no fault: the values unused for longest make room.
    """
    owners = [token.name for token in known.all()]
    if not known.required:
        owners.append(LOCAL_CALLER.name)
    try:
        used = await stored_uses(owners)
    except BusUnavailable:
        return {}
    if not used:
        return {}
    values = sum(use.values for use in used.values())
    size = sum(use.bytes for use in used.values())
    limit = settings.responses.bytes_per_token
    hours = settings.responses.lifetime_hours
    output = (
        f"{values:,} stored, {size:,} bytes; at most {limit:,} bytes a token, {hours:g} h after "
        "the last use."
    )
    tokens = {owner: {"items": use.values, "bytes": use.bytes} for owner, use in used.items()}
    facts = {
        "items": values,
        "bytes": size,
        "limit_bytes_per_token": limit,
        "lifetime_hours": hours,
    }
    return {"stored_responses": health_check("pass", output, **facts, tokens=tokens)}


def waiting_check(waiting: list[WaitingEntry]) -> Checks:
    """Return a check that counts the requests that wait in front of a provider, by what they wait
    for; no check while none waits. To wait is no fault: the request asked for it.
    """
    if not waiting:
        return {}
    counts = Counter(
        f"for a place at {each.provider}"
        if each.until is None
        else f"until {minute_in_utc(each.until)} for {each.limit}"
        for each in waiting
    )
    told = [f"{count} {'waits' if count == 1 else 'wait'} {what}" for what, count in counts.items()]
    return {"waiting_requests": health_check("pass", f"{'; '.join(told)}.", count=len(waiting))}


def service_check(service: str, alive: list[dict[str, Any]]) -> Check:
    if not alive:
        return health_check("fail", f"No {service} is running.")
    problems = [str(process["problem"]) for process in alive if process.get("problem")]
    status, output = (
        ("warn", " ".join(problems)) if problems else ("pass", f"{len(alive)} running.")
    )
    return health_check(status, output, processes=alive)


def health_check(status: str, output: str, **facts: Any) -> Check:
    return {"status": status, "output": output, **facts}


def each_check(checks: Checks) -> Iterator[Check]:
    """Yield every check, also where a name has several."""
    for found in checks.values():
        yield from found if isinstance(found, list) else [found]


def worst(checks: Checks) -> str:
    return max(
        (found["status"] for found in each_check(checks)),
        key=lambda status: WORST[status],
        default="pass",
    )


def health(
    request: Request, status: str, output: str, checks: Checks, code: int = 200
) -> JSONResponse:
    """Return the health as a response; details only when the caller of `request` has the scope
    `admin`.
    """
    if "admin" not in context_of(request.scope).admitted.scopes:
        return JSONResponse({"status": status}, code, headers=NO_CACHE, media_type=HEALTH_TYPE)
    now = datetime.now(UTC).isoformat()
    body = {
        "status": status,
        "version": VERSION,
        "description": output,
        "serviceId": "claude-code-proxy",
        "time": now,
        "output": output,
        "checks": {
            name: [
                {"componentId": name, "time": now, **found}
                for found in each_check({name: checks[name]})
            ]
            for name in checks
        },
    }
    return JSONResponse(body, code, headers=NO_CACHE, media_type=HEALTH_TYPE)
