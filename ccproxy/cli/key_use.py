"""The billing order in words: what an API key that pays after the subscription has spent today."""

from __future__ import annotations

import time
from typing import Any

from ccproxy.cli.figures import clock
from ccproxy.cli.gateway import checked, connection_to
from ccproxy.cli.status import find_running
from shared.runtime.errors import CCProxyError
from shared.settings.tree import Settings, armed_providers

ANSWER_SECONDS = 5.0

Facts = dict[str, Any]


def key_use_lines(settings: Settings) -> list[str]:
    """Return a line for each API key that pays after a subscription; none where no key does.

    The running stack knows what was spent; without it the line names the limit only.
    """
    armed = armed_providers(settings)
    if not armed:
        return []
    try:
        stack = find_running(settings)
        if stack is None:
            raise CCProxyError("CCProxy does not run")
        with connection_to(stack) as client:
            usage = checked(client.get("/usage", timeout=ANSWER_SECONDS)).json()
        orders = usage.get("billing_orders", [])
    except CCProxyError as error:
        why = error.message.rstrip(".")
        return [
            f"{provider}: the API key may spend ${limit:.2f} a day; today's use is not known: {why}"
            for provider, limit in armed.items()
        ]
    return [order_line(order, time.time()) for order in orders]


def order_line(order: Facts, now: float) -> str:
    """Return one billing order of `/usage` as a line."""
    words = (
        f"{order['provider']}: the API key has spent ${order['spent_today_usd']:.2f} of "
        f"${order['usd_per_day']:.2f} today"
    )
    ends = [each["until"] for each in order["used_up"] if each["key_paid_since"]]
    if order["spent_today_usd"] >= order["usd_per_day"]:
        return f"{words}; its limit begins anew at {clock(order['day_ends_at'], now)}"
    if ends:
        return f"{words}; it pays until the window resets at {clock(max(ends), now)}"
    return f"{words}; it waits until the subscription is used up"
