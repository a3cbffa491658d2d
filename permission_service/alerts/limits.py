"""Alerts of spending limits: one when much of a token's limit is used, and one when all of it is.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from permission_service.alerts.alert import Condition, Decision, Words, raised
from permission_service.alerts.windows import Conditions
from shared.bus.alerts import LimitReport
from shared.runtime.times import minute_in_utc

NEAR = "near"
REACHED = "reached"
# A limit may follow a window, whose reset creeps; the shortest period has five hours.
CREEP_SECONDS = 3600.0
RANK = {"": 0, NEAR: 1, REACHED: 2}


def decide_limit(
    conditions: Conditions, use: LimitReport, limit: float, now: float
) -> Iterator[Decision]:
    """Yield the decision on a reported `use`, and on the limits whose time has ended. `limit` is
    the used fraction that alerts.
    """
    subject = f"{use.token}: {use.limit}"
    for condition in conditions.values():
        is_over = condition.kind == "budget" and condition.ends_at <= now
        if is_over and condition.subject != subject:
            yield Decision(("budget", condition.subject), None)
    # A report that was delayed until its period was over.
    if use.resets_at <= now:
        return
    known = conditions.get(("budget", subject))
    is_over = known is not None and known.ends_at <= now
    if known is None or is_over or use.resets_at - known.period > CREEP_SECONDS:
        known = Condition("budget", subject, "", use.resets_at, use.resets_at)
    current = replace(known, period=use.resets_at, ends_at=use.resets_at)
    level = REACHED if use.used >= 1 else NEAR if use.used >= limit else ""
    if RANK[level] > RANK[known.level]:
        yield raised(replace(current, level=level), _words(level, use), now)
    elif known.level and current != known:
        yield Decision(("budget", subject), current)


def _words(level: str, use: LimitReport) -> Words:
    state = "is reached" if level == REACHED else f"is used to {use.used:.0%}"
    title = f"Token {use.token}: its limit {state}"
    return Words(title, f"Limit: {use.limit}. It begins anew at {minute_in_utc(use.resets_at)}.")
