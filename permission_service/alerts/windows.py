"""Alerts of a subscription's windows: one when much of a window is used, one when all of it is, and
a quiet one when a used-up window has begun anew. Pure.

The quota comes from Redis, where the gateways share it: of several gateways none decides. A window
is the same as long as its reset only creeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from permission_service.alerts.alert import (
    PROVIDERS,
    Condition,
    Decision,
    Words,
    ended,
    raised,
)
from shared.accounts.quota import Quota, Window, empty_at, has_restarted, used_now
from shared.runtime.times import minute_in_utc
from shared.settings.notify import AlertKind

NEAR = "near"
GONE = "gone"
BACK = "back"
RANK = {"": 0, NEAR: 1, GONE: 2}
REFUSED = "rejected"  # Claude's word for a window that takes no request, whatever part is used

Conditions = Mapping[tuple[AlertKind, str], Condition]


def decide_windows(
    conditions: Conditions, quotas: Iterable[Quota], limit: float, now: float
) -> Iterator[Decision]:
    """Yield the decisions on every window of `quotas`, and on every known window that has ended.
    `limit` is the used fraction that alerts.
    """
    reported: dict[str, tuple[Quota, Window]] = {
        window_subject(quota.provider, window.name): (quota, window)
        for quota in quotas
        for window in quota.windows
    }
    for condition in conditions.values():
        if condition.kind != "quota":
            continue
        _, window = reported.get(condition.subject, (None, None))
        # By the clock, or by a reset that came early.
        if now >= condition.ends_at or (window and has_restarted(condition.period, window)):
            yield _over(condition, now)
            # What has begun anew is looked at next time.
            reported.pop(condition.subject, None)
    for subject, (quota, window) in reported.items():
        decision = _on_window(
            conditions.get(("quota", subject)), subject, quota, window, limit, now
        )
        if decision is not None:
            yield decision


def window_subject(provider: str, window: str) -> str:
    """Return the subject of a window's condition."""
    return f"{provider} {window}"


def is_used_up(conditions: Conditions, provider: str) -> bool:
    """Return True while a window of the subscription behind `provider` is used up."""
    subscription = "claude" if provider == "sdk" else provider
    return any(
        kind == "quota" and subject.startswith(f"{subscription} ") and condition.level == GONE
        for (kind, subject), condition in conditions.items()
    )


def _on_window(
    known: Condition | None,
    subject: str,
    quota: Quota,
    window: Window,
    limit: float,
    now: float,
) -> Decision | None:
    """Return the decision on an open window; None when there is no change to make."""
    used = used_now(window, now)
    is_refused = window.status == REFUSED and window.resets_at > now
    level = GONE if used >= 1 or is_refused else NEAR if used >= limit else ""
    if known is None:
        known = Condition("quota", subject, "", window.resets_at)
    current = replace(known, period=window.resets_at, ends_at=window.resets_at)
    if RANK[level] > RANK[known.level]:
        return raised(replace(current, level=level), _words(level, quota, window, now), now)
    is_moved = known.level and current != known
    return Decision(("quota", subject), current) if is_moved else None


def _over(condition: Condition, now: float) -> Decision:
    if condition.level != GONE:
        return Decision(("quota", condition.subject), None)
    return ended(condition, BACK, Words(f"{_name(condition.subject)} has begun anew", ""), now)


def _words(level: str, quota: Quota, window: Window, now: float) -> Words:
    name = _name(window_subject(quota.provider, window.name))
    text = f"It resets at {minute_in_utc(window.resets_at)}."
    if level == GONE:
        if quota.extra_usage:
            text = f"Extra usage is being paid for. {text}"
        return Words(f"{name} is used up", text)
    if (at := empty_at(window, now)) is not None:
        text += f" At this pace it is used up at {minute_in_utc(at)}."
    return Words(f"{name} is used to {used_now(window, now):.0%}", text)


def _name(subject: str) -> str:
    provider, _, window = subject.partition(" ")
    return f"{PROVIDERS.get(provider, provider)}: the {window.replace('_', ' ')} window"
