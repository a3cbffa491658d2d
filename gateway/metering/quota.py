"""This gateway's knowledge of every subscription's windows, learned from replies and shared with
the other gateways.

Learning costs a request nothing: the newest headers are kept and read later, by the one task that
also shares them, or by a request that needs the quota. While Redis is away, the other gateways only
hear of changes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any

from gateway.server.asgi import Headers
from shared.accounts.quota import (
    CLAUDE_OVERAGE,
    Quota,
    Window,
    describe_quota,
    empty_at,
    merge,
    quota_key,
    read_event,
    read_quota,
    read_report,
    used_now,
    used_up,
    words_of_window,
)
from shared.bus import Bus
from shared.bus.channels import AccessRecord, decode_payload, encode_payload
from shared.runtime.background import end_task, repeat
from shared.runtime.errors import ClientError, QuotaReached
from shared.runtime.metrics import Metrics, QuotaMetrics
from shared.runtime.times import minute_in_utc
from shared.settings.tree import QuotaSettings

PROVIDERS = ("claude", "codex")
SHARE_SECONDS = 1.0
LEAST_TTL_SECONDS = 60.0
OVERAGE = (CLAUDE_OVERAGE.encode(), b"true")


class QuotaWatch:
    """The quota of a provider's subscription. Requests are refused from the used fraction
    `stop_at`, or never with None.
    """

    def __init__(self, provider: str, stop_at: float | None = None) -> None:
        self.provider = provider
        self._stop_at = stop_at
        self._headers: tuple[float, Headers] | None = None
        self._known: Quota | None = None
        self.unpublished = False

    def learn(self, record: AccessRecord, headers: Headers) -> None:
        """Keep the headers of a reply about the subscription, and note in the record a use of paid
        extra usage.
        """
        if record.billed_to == "subscription":
            self._headers = time.time(), headers
            # Claude's header names the extra usage by itself. Codex's headers show it only once
            # their windows have been read.
            if OVERAGE in headers or (self.provider == "codex" and self._pays_extra()):
                record.billed_to = "extra_usage"

    def learn_report(self, record: AccessRecord, told: dict[str, Any]) -> None:
        """Keep the limits that Claude Code reports for its requests, as `learn` keeps headers."""
        if record.billed_to == "subscription" and (news := read_report(told, time.time())):
            self._known = merge(self.quota, news)
            self.unpublished = True
            if news.extra_usage:
                record.billed_to = "extra_usage"

    def learn_event(self, record: AccessRecord, told: dict[str, Any]) -> None:
        """Keep the limits in a `codex.rate_limits` event of a reply, as `learn` keeps headers."""
        if record.billed_to == "subscription" and (news := read_event(told, time.time())):
            self._known = merge(self.quota, news)
            self.unpublished = True
            if news.extra_usage:
                record.billed_to = "extra_usage"

    def admit(self, record: AccessRecord) -> None:
        """Raise QuotaReached when the use of the subscription has reached the owner's limit."""
        if record.billed_to == "subscription" and (window := self.stopping_window(record.model)):
            quota, stop_at = self.quota, self._stop_at
            assert quota is not None
            assert stop_at is not None
            raise window_used_up(quota, window.name, window.used, window.resets_at, stop_at)

    def stopping_window(self, model: str) -> Window | None:
        """Return the window for which the owner's limit stops requests to `model` on the
        subscription; None if requests may go on.
        """
        if self._stop_at is None or (quota := self.quota) is None:
            return None
        return used_up(quota, model, self._stop_at, time.time())

    @property
    def quota(self) -> Quota | None:
        if self._headers is not None:
            (at, headers) = self._headers
            self._headers = None
            if news := read_quota(self.provider, headers, at):
                self._known = merge(self._known, news)
                self.unpublished = True
        return self._known

    def adopt(self, other: Quota) -> None:
        """Merge the quota from another gateway, or from the same gateway before a reload."""
        mine = self.quota
        if mine is None or other.seen_at > mine.seen_at:
            self._known = merge(mine, other) if mine else other
            # The newer quota is the shared one already, so nothing of ours is left to share.
            self.unpublished = False
        else:
            self._known = merge(other, mine)

    def _pays_extra(self) -> bool:
        quota = self.quota
        return quota is not None and quota.extra_usage


def window_used_up(
    quota: Quota, window: str, used: float, resets_at: float, stop_at: float
) -> QuotaReached:
    left = max(1, round(resets_at - time.time()))
    until = minute_in_utc(resets_at)
    why = "and paid extra usage has begun" if quota.extra_usage else "as the provider last told"
    return QuotaReached(
        f"The {window} window of the {quota.provider} subscription is used to {used:.0%}, {why}; "
        f"it ends at {until}. QUOTA__STOP_AT_PERCENT={stop_at * 100:g} stops requests here; unset "
        "it to go on.",
        limit=words_of_window(quota.provider, window),
        resets_at=resets_at,
        headers={"retry-after": str(left), "x-should-retry": "false"},
    )


class Quotas:
    """The QuotaWatch of every provider, and the task that shares the quotas while open."""

    def __init__(
        self, bus: Bus, settings: QuotaSettings, metrics: Metrics, before: Quotas | None = None
    ) -> None:
        stop_at = None if settings.stop_at_percent is None else settings.stop_at_percent / 100
        self._watches = {provider: QuotaWatch(provider, stop_at) for provider in PROVIDERS}
        self._bus = bus
        self._metrics = metrics.part(QuotaMetrics)
        self._task: asyncio.Task[None] | None = None
        # Learned before the reload, and perhaps not shared yet.
        for quota in before.known() if before else ():
            watch = self.of(quota.provider)
            watch.adopt(quota)
            watch.unpublished = True

    def of(self, provider: str) -> QuotaWatch:
        return self._watches[provider]

    def known_of(self, provider: str) -> Quota | None:
        """Return the quota of the subscription at `provider`; None before the first report."""
        watch = self._watches.get(provider)
        return watch.quota if watch else None

    def known(self) -> Iterable[Quota]:
        return filter(None, (watch.quota for watch in self._watches.values()))

    def describe(self) -> list[dict[str, Any]]:
        now = time.time()
        return [describe_quota(quota, now) for quota in self.known()]

    async def __aenter__(self) -> Quotas:
        self._task = asyncio.create_task(repeat(self._share_and_show, every=SHARE_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _share_and_show(self) -> None:
        try:
            await self.share()
        finally:
            # The clock alone changes what the metrics say: a window ends while the bus is away.
            self.show()

    async def share(self) -> None:
        """Read the other gateways' newer quotas from Redis, and publish our own. Raises
        BusUnavailable.
        """
        for watch in self._watches.values():
            # Reading comes first: our own write then continues what the others know, and erases
            # nothing.
            if (stored := await self._bus.get(quota_key(watch.provider))) is not None:
                with contextlib.suppress(ClientError):  # written by a version with another format
                    watch.adopt(decode_payload(Quota, stored))
            quota = watch.quota
            if quota is not None and watch.unpublished:
                # Cleared before the wait: a reply that comes during `put` sets the mark again, and
                # is shared by the next look.
                watch.unpublished = False
                ends = max(window.resets_at for window in quota.windows) - time.time()
                try:
                    await self._bus.put(
                        quota_key(watch.provider),
                        encode_payload(quota),
                        ttl=max(LEAST_TTL_SECONDS, ends),
                    )
                except BaseException:
                    # The other gateways may know nothing of it: the next look tries again.
                    watch.unpublished = True
                    raise

    def show(self) -> None:
        """Put every window into the metrics."""
        now = time.time()
        self._metrics.show(
            (
                quota.provider,
                window.name,
                used_now(window, now),
                window.resets_at,
                empty_at(window, now),
            )
            for quota in self.known()
            for window in quota.windows
        )
