"""The limit that refused a request, and the time of its reset, read from the refusal.

Only a limit with a reset counts: the provider's word that a window of the subscription is used up,
QUOTA__STOP_AT_PERCENT, and the limit of a token. A limit per minute, an overloaded provider and a
full queue are none.
"""

from __future__ import annotations

from gateway.providers import Opened, Outgoing
from gateway.providers.exhaustion import exhausted_window
from gateway.waiting.reset_rooms import LimitReset
from shared.accounts.quota import Quota, full_window, words_of_window
from shared.accounts.token_limits import subscription_of
from shared.runtime.errors import CCProxyError, LimitReached, UpstreamRefused

REFUSED = 429
SAME_RESET_SECONDS = 60.0  # two readings of one reset differ by less

Outcome = Opened | CCProxyError


async def limit_in_force(
    request: Outgoing, outcome: Outcome, quota: Quota | None, now: float
) -> LimitReset | None:
    """Return the limit behind `outcome`, the answer to `request` or the error in place of an
    answer; None for any other outcome. `quota` is the subscription's reported quota.
    """
    record = request.record
    subscription = subscription_of(record.provider)
    if isinstance(outcome, LimitReached):
        return LimitReset(outcome.limit, outcome.resets_at) if outcome.resets_at else None
    if isinstance(outcome, Opened):
        if outcome.status != REFUSED:
            return None
        body = await outcome.read_ahead()
        found = exhausted_window(
            subscription, outcome.status, outcome.headers, body, record.model, now
        )
        if found is None:
            return None
        name = found.name or named_window(quota, found.until)
        return LimitReset(words_of_window(subscription, name), found.until)
    # A worker of `/sdk` passes the refusal on without the provider's headers; the windows have come
    # with the end of the turn.
    is_refusal = isinstance(outcome, UpstreamRefused) and outcome.status == REFUSED
    window = full_window(quota, record.model, now) if is_refusal and quota else None
    return (
        LimitReset(words_of_window(subscription, window.name), window.resets_at) if window else None
    )


def named_window(quota: Quota | None, resets_at: float) -> str:
    """Return the name of the reported window with a reset at about `resets_at`; an empty text
    without such a window.
    """
    windows = quota.windows if quota else []
    return next(
        (each.name for each in windows if abs(each.resets_at - resets_at) < SAME_RESET_SECONDS), ""
    )
