"""`/usage`: the rest of each subscription, and past use and cost. The first is answered without
analytics.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from gateway.metering.billing_order import BillingOrders
from gateway.metering.quota import PROVIDERS, Quotas
from gateway.metering.token_ledger import TokenLedger
from gateway.routes.logs import run_question
from gateway.server.known_tokens import KnownTokens
from gateway.server.signed_in import Token
from shared.accounts.token_limits import WINDOWS
from shared.bus import Bus
from shared.bus.channels import LogsQuery
from shared.runtime.errors import BusUnavailable, CCProxyError


def usage_router(
    bus: Bus,
    quotas: Quotas,
    ledger: TokenLedger,
    orders: BillingOrders,
    tokens: KnownTokens,
    monthly_usd: dict[str, float],
) -> APIRouter:
    """Return the routes. `monthly_usd` has the dollars a month of subscriptions whose price the
    owner has set.
    """
    routes = APIRouter(tags=["usage"])

    @routes.get("/usage")
    async def usage() -> dict[str, Any]:
        """Return windows with forecasts; the use of each API key that pays while a window is used
        up; tokens and dollars of the last day, week and 30 days by provider and `billed_to`; what
        the subscriptions paid for, by list price; and the cost of cache misses in the last week by
        cause.
        """
        answer: dict[str, Any] = {
            "quota": quotas.describe(),
            "billing_orders": [order.describe() for order in orders.all()],
            "spent": [],
            "included": [],
            "monthly_usd": monthly_usd,
            "cache_misses": [],
            "problem": "",
            "timestamp": time.time(),
        }
        try:
            spent = await run_question(bus, LogsQuery("usage"))
        except CCProxyError as error:
            return answer | {"problem": error.message}
        rows = spent.get("results", [])
        return answer | {
            "spent": rows,
            "included": included_by_span(rows),
            "cache_misses": spent["cache_misses"],
            "prices_as_of": spent["prices_as_of"],
        }

    @routes.get("/usage/limits")
    async def limits() -> dict[str, Any]:
        """Return the limits of every named token, and how much of each is used."""
        limited = tokens.limited()
        try:
            described = [await describe_token(ledger, token) for token in limited]
        except BusUnavailable as error:
            return {"tokens": [], "problem": error.message, "timestamp": time.time()}
        return {"tokens": described, "problem": "", "timestamp": time.time()}

    @routes.post("/usage/prices/refresh")
    async def refresh_prices() -> dict[str, Any]:
        """Fetch a newer price list from OBSERVABILITY__PRICES_URL."""
        return await run_question(bus, LogsQuery("refresh_prices"))

    return routes


def included_by_span(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what subscriptions paid for in each span: its requests, its cost by the list prices of
    the providers' APIs, and the tokens that have no known price.
    """
    sums: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["billed_to"] == "subscription":
            nothing = {"span": row["span"], "requests": 0, "cost_usd": 0.0, "unpriced_tokens": 0}
            so_far = sums.setdefault(row["span"], nothing)
            for part in ("requests", "cost_usd", "unpriced_tokens"):
                so_far[part] += row[part]
    return list(sums.values())


async def describe_token(ledger: TokenLedger, token: Token) -> dict[str, Any]:
    """Return the limits of `token` for `/usage/limits`. A limit per window has one entry for each
    provider. Raises BusUnavailable.
    """
    by_window = tuple(limit for limit in token.limits if limit.per in WINDOWS)
    by_calendar = tuple(limit for limit in token.limits if limit.per not in WINDOWS)
    uses = [("", use) for use in await ledger.read_uses(token.name, by_calendar, "")]
    for provider in PROVIDERS:
        uses += [(provider, use) for use in await ledger.read_uses(token.name, by_window, provider)]
    return {
        "name": token.name,
        "at_once": token.at_once or None,
        "active": await ledger.count_active(token.name),
        "limits": [
            {
                "limit": str(use.limit),
                "amount": use.limit.amount,
                "unit": use.limit.unit,
                "per": use.limit.per,
                "provider": provider,
                "used_percent": use.fraction * 100,
                "resets_at": use.bucket.ends_at,
            }
            for provider, use in uses
        ],
    }
