"""Alerts of providers whose requests fail, and of their recovery. Pure.

Analytics judges a provider by its last requests, as the dashboard shows it. A failure has to be
seen twice before it alerts, and has to be away for some time before its end does: a provider that
fails now and then is one failure and one recovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from permission_service.alerts.alert import PROVIDERS, Condition, Decision, Words, ended, raised
from permission_service.alerts.windows import Conditions, is_used_up
from shared.runtime.times import minute_in_utc
from shared.settings.notify import AlertKind

SUSPECTED = "suspected"
FAILING = "failing"
RECOVERED = "recovered"
# Our own ends of requests, which say nothing of the provider.
OWN_KINDS = frozenset({"quota", "spend_limit", "stopping"})


@dataclass(frozen=True, slots=True)
class ProviderOutcomes:
    """The ends of the last requests to a provider, as analytics answers. Times are UTC seconds."""

    provider: str
    requests: int
    failed: int
    level: str
    error_kind: str = ""
    last_failure: float | None = None
    last_success: float | None = None


def decide_providers(
    conditions: Conditions, outcomes: list[ProviderOutcomes], calm_seconds: float, now: float
) -> Iterator[Decision]:
    """Yield the decisions on every provider with requests in the last hour, and on the known ones
    without any. A recovery has lasted `calm_seconds`.
    """
    reported = {each.provider: each for each in outcomes}
    for condition in conditions.values():
        # Nobody has asked for an hour, so nothing is known: neither that it fails nor the opposite.
        if condition.kind == "provider" and condition.subject not in reported:
            yield Decision(("provider", condition.subject), None)
    for provider, each in reported.items():
        known = conditions.get(("provider", provider))
        # A subscription that is used up refuses its requests, and has its own alert.
        is_own = each.error_kind in OWN_KINDS or is_used_up(conditions, provider)
        is_failing = each.level == "fail" and not is_own
        decision = _on_provider(known, each, calm_seconds, now, is_failing=is_failing)
        if decision is not None:
            yield decision


def _on_provider(
    known: Condition | None,
    outcomes: ProviderOutcomes,
    calm_seconds: float,
    now: float,
    *,
    is_failing: bool,
) -> Decision | None:
    key: tuple[AlertKind, str] = ("provider", outcomes.provider)
    if known is None:
        seen = Condition("provider", outcomes.provider, SUSPECTED, period=now, seen_at=now)
        return Decision(key, seen) if is_failing else None
    if is_failing and known.level == SUSPECTED:
        failing = replace(known, level=FAILING, seen_at=now)
        return raised(failing, _words(outcomes), now)
    if is_failing:
        return Decision(key, replace(known, seen_at=now))
    if known.level == SUSPECTED:
        return Decision(key, None)
    succeeds_last = (outcomes.last_success or 0.0) > (outcomes.last_failure or 0.0)
    if succeeds_last and now - known.seen_at >= calm_seconds:
        return ended(known, RECOVERED, _recovery(known), now)
    return None


def _words(outcomes: ProviderOutcomes) -> Words:
    kind = outcomes.error_kind.replace("_", " ")
    most = f", most of them with: {kind}" if kind else ""
    text = f"{outcomes.failed} of its last {outcomes.requests} requests failed{most}."
    return Words(f"{_name(outcomes.provider)} fails", text)


def _recovery(condition: Condition) -> Words:
    text = f"It failed since {minute_in_utc(condition.period)}."
    return Words(f"{_name(condition.subject)} answers again", text)


def _name(provider: str) -> str:
    return PROVIDERS.get(provider, provider)
