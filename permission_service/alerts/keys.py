"""Alerts of API keys that pay because a window of the subscription is used up: one for each window.
Pure.

The windows come from Redis, where the gateways share them. A window whose reset only creeps is the
same one, and so is one that begins again within the hour: its provider named no reset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from permission_service.alerts.alert import PROVIDERS, Condition, Decision, Words, raised
from permission_service.alerts.windows import Conditions
from shared.accounts.used_up import CREEP_SECONDS, UsedUpWindow, UsedUpWindows
from shared.runtime.times import minute_in_utc

PAYS = "pays"


def decide_keys(
    conditions: Conditions, states: Iterable[UsedUpWindows], now: float
) -> Iterator[Decision]:
    """Yield the decisions on every used-up window in whose place a key pays, and on windows long
    over.
    """
    paying = {
        key_subject(state.provider, window): (state, window)
        for state in states
        for window in state.windows
        if window.key_paid_at and window.until > now
    }
    for condition in conditions.values():
        is_over = condition.kind == "billing" and condition.ends_at + CREEP_SECONDS <= now
        if is_over and condition.subject not in paying:
            yield Decision(("billing", condition.subject), None)
    for subject, (state, window) in paying.items():
        known = conditions.get(("billing", subject))
        current = Condition("billing", subject, PAYS, window.until, window.until)
        if known is None or window.until - known.period > CREEP_SECONDS:
            yield raised(current, _words(state, window), now)
        elif known.period != window.until:
            yield Decision(("billing", subject), replace(current, alert_id=known.alert_id))


def key_subject(provider: str, window: UsedUpWindow) -> str:
    """Return the subject of the condition of a window."""
    return f"{provider} {window.models}".strip()


def _words(state: UsedUpWindows, window: UsedUpWindow) -> Words:
    provider = PROVIDERS.get(state.provider, state.provider)
    name = f"The {window.name.replace('_', ' ')} window" if window.name else "A window"
    title = f"{provider}: your API key pays now"
    text = (
        f"{name} of the subscription is used up until {minute_in_utc(window.until)}. The key pays "
        f"at most ${state.usd_per_day:.2f} a day."
    )
    return Words(title, text)
