"""Windows of a subscription that its provider calls used up, as gateways share them. Pure: no
clock, no I/O.

A window is known until its reset, and for no longer than ASK_AGAIN_SECONDS without a new refusal: a
provider may begin a window early, and then the subscription is to pay again. It belongs to one
account: another login has windows of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

ASK_AGAIN_SECONDS = 3600.0  # of a refusal: one refused request an hour, at most, is the price
CREEP_SECONDS = 3600.0  # a reset that moves by less is the same window; the shortest has five hours
USED_UP_PREFIX = "used_up:"


@dataclass(frozen=True, slots=True)
class UsedUpWindow:
    """A window used up until `until` (UTC seconds), for the models whose names contain `models`;
    `name` as in `shared/accounts/quota.py`, or empty.

    `account` is a digest of the account. `refused_at` is the time of the provider's last refusal; 0
    for a window that only the owner's QUOTA__STOP_AT_PERCENT stops. `key_paid_at` is when the API
    key first paid in its place; 0 for not yet.
    """

    until: float
    name: str = ""
    models: str = ""
    account: str = ""
    refused_at: float = 0.0
    key_paid_at: float = 0.0


@dataclass(frozen=True, slots=True)
class UsedUpWindows:
    """The used-up windows of the subscription at `provider`; `usd_per_day` is what the API key may
    spend.
    """

    provider: str
    usd_per_day: float = 0.0
    windows: list[UsedUpWindow] = field(default_factory=list)


def used_up_key(provider: str) -> str:
    """Return Redis' key of the used-up windows of `provider`."""
    return f"{USED_UP_PREFIX}{provider}"


def merged_windows(
    windows: Iterable[UsedUpWindow], more: Iterable[UsedUpWindow], now: float
) -> list[UsedUpWindow]:
    """Return the open windows of `windows` and `more`, a single window for every account and set of
    models.
    """
    found: dict[tuple[str, str, bool], UsedUpWindow] = {}
    for window in (*windows, *more):
        if window.until <= now:
            continue
        place = (window.account, window.models, window.refused_at > 0)
        known = found.get(place)
        found[place] = window if known is None else _joined(known, window)
    return [found[place] for place in sorted(found)]


def _joined(known: UsedUpWindow, window: UsedUpWindow) -> UsedUpWindow:
    """Return a single window for two reports about the same models.

    The later refusal knows the reset best. Two resets far apart are two windows, and the key has
    paid in each of them for the first time.
    """
    later, earlier = (
        (window, known)
        if (window.refused_at, window.until) >= (known.refused_at, known.until)
        else (known, window)
    )
    if abs(later.until - earlier.until) > CREEP_SECONDS:
        return later
    paid = [each.key_paid_at for each in (later, earlier) if each.key_paid_at]
    return replace(later, key_paid_at=min(paid, default=0.0))


def window_refusing(
    windows: Iterable[UsedUpWindow], model: str, account: str, now: float
) -> UsedUpWindow | None:
    """Return the window for which the provider would refuse `model` to `account` again; None if a
    request is worth sending.
    """
    for window in windows:
        is_current = window.until > now and 0 <= now - window.refused_at < ASK_AGAIN_SECONDS
        if is_current and window.account == account and window.models in model:
            return window
    return None
