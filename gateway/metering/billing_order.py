"""The billing order of each provider: the subscription, and then the owner's API key while a window
of the subscription is used up.

Only a provider's own refusal begins the key's time, or the owner's QUOTA__STOP_AT_PERCENT; the
window's reset ends it. The gateways share the used-up windows in Redis, so that one of them asks
the subscription in vain, and the permission service alerts from there. While Redis is away, each
gateway goes on by what it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.metering.key_budget import KeyBudget
from gateway.providers.exhaustion import ExhaustedWindow
from shared.accounts.login import Authorization
from shared.accounts.quota import Window
from shared.accounts.used_up import (
    UsedUpWindow,
    UsedUpWindows,
    merged_windows,
    used_up_key,
    window_refusing,
)
from shared.bus import Bus
from shared.bus.channels import AccessRecord, decode_payload, encode_payload
from shared.runtime.background import end_task, repeat
from shared.runtime.errors import BusUnavailable, ClientError
from shared.runtime.log import get_log
from shared.runtime.times import minute_in_utc

SHARE_SECONDS = 1.0
LEAST_TTL_SECONDS = 60.0


class BillingOrder:
    """The order of a provider: `key` pays after the subscription, at most `usd_per_day`."""

    def __init__(
        self,
        provider: str,
        key: Authorization,
        usd_per_day: float,
        budget: KeyBudget,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self.key = key
        self.usd_per_day = usd_per_day
        self._budget = budget
        self._clock = clock
        self._windows: list[UsedUpWindow] = []
        self._sent: set[str] = set()  # ids of active requests that were sent with the key

    def window_refusing(
        self, record: AccessRecord, authorization: Authorization
    ) -> UsedUpWindow | None:
        """Return the used-up window for which the provider would refuse the request; None if the
        subscription is worth asking.
        """
        windows = self._windows
        if not windows:
            return None
        return window_refusing(windows, record.model, authorization.account, self._clock())

    def learn(self, window: ExhaustedWindow, authorization: Authorization) -> UsedUpWindow:
        """Keep and return `window`, the reason for the provider's latest refusal of
        `authorization`.
        """
        now = self._clock()
        used_up = UsedUpWindow(
            window.until, window.name, window.models, authorization.account, refused_at=now
        )
        self.adopt([used_up])
        return used_up

    def stopped(self, window: Window, authorization: Authorization) -> UsedUpWindow:
        """Return the window stopped by QUOTA__STOP_AT_PERCENT, as a used-up window."""
        _, _, models = window.name.partition("_")
        return UsedUpWindow(window.resets_at, window.name, models, authorization.account)

    async def may_pay(self) -> bool:
        """Return True if the daily limit of the key allows another request."""
        return await self._budget.admits(self.provider)

    def note_sent(self, record: AccessRecord) -> None:
        """Note that the request of `record` is sent with the key; the request's end is counted."""
        record.billed_to = self.key.billed_to
        self._sent.add(record.request_id)

    def take_sent(self, record: AccessRecord) -> bool:
        """Return True, once, if the request of `record` was sent with the key."""
        was_sent = record.request_id in self._sent
        self._sent.discard(record.request_id)
        return was_sent

    def note_answered(self, window: UsedUpWindow) -> None:
        """Keep that the key has paid in place of `window`; the first payment is logged."""
        known = next((each for each in self._windows if _is_same(each, window)), None)
        if known is not None and known.key_paid_at:
            return
        self.adopt([replace(known or window, key_paid_at=self._clock())])
        get_log().warning(
            "api_key_pays",
            provider=self.provider,
            window=window.name,
            until=minute_in_utc(window.until),
            usd_per_day=self.usd_per_day,
            note="The provider's prompt cache of the subscription does not serve the key.",
        )

    def adopt(self, windows: Iterable[UsedUpWindow]) -> None:
        """Merge `windows` into the known windows."""
        self._windows = merged_windows(self._windows, windows, self._clock())

    @property
    def state(self) -> UsedUpWindows:
        """Return the order's state, as shared between the gateways."""
        self.adopt(())
        return UsedUpWindows(self.provider, self.usd_per_day, self._windows)

    def limit_words(self) -> str:
        """Return the daily limit, the used part and the reset, for a person."""
        use = self._budget.use(self.provider)
        return (
            f"${use.spent_usd:.2f} of ${use.usd_per_day:.2f} used today; it begins anew at "
            f"{minute_in_utc(use.ends_at)}"
        )

    def describe(self) -> dict[str, Any]:
        """Return the order for `/usage`."""
        use = self._budget.use(self.provider)
        windows = self.state.windows
        return {
            "provider": self.provider,
            "order": ["subscription", "api_key"],
            "key_from": self.key.source,
            "usd_per_day": use.usd_per_day,
            "spent_today_usd": round(use.spent_usd, 6),
            "day_ends_at": use.ends_at,
            "used_up": [
                {
                    "window": window.name,
                    "models": window.models or None,
                    "until": window.until,
                    "key_paid_since": window.key_paid_at or None,
                }
                for window in windows
            ],
        }


def _is_same(window: UsedUpWindow, other: UsedUpWindow) -> bool:
    """Return True if both windows have the same account, models and cause."""
    return (
        window.account == other.account
        and window.models == other.models
        and bool(window.refused_at) == bool(other.refused_at)
    )


class BillingOrders:
    """The billing orders chosen by the owner, and the task that shares the orders while open.
    Without orders no task runs.
    """

    def __init__(
        self,
        bus: Bus,
        price: Callable[[AccessRecord], float],
        keys: Mapping[str, tuple[Authorization, float]],
        gateways: int = 1,
        before: BillingOrders | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keys` are the API keys with their dollars a day, by provider."""
        limits = {provider: limit for provider, (_, limit) in keys.items()}
        self._bus = bus
        self._budget = KeyBudget(bus, price, limits, gateways, clock)
        self._orders = {
            provider: BillingOrder(provider, key, limit, self._budget, clock)
            for provider, (key, limit) in keys.items()
        }
        self._task: asyncio.Task[None] | None = None
        for order in before.all() if before else ():
            if (mine := self.of(order.provider)) is not None:
                mine.adopt(order.state.windows)

    def of(self, provider: str) -> BillingOrder | None:
        """Return the order of `provider`; None without an order."""
        return self._orders.get(provider)

    def all(self) -> list[BillingOrder]:
        return list(self._orders.values())

    def count(self, record: AccessRecord) -> None:
        """Add the cost of the ended request of `record`, if sent with a key of the orders."""
        order = self._orders.get(record.provider)
        if order is not None and order.take_sent(record):
            self._budget.count(record)

    async def __aenter__(self) -> BillingOrders:
        if self._orders:
            self._task = asyncio.create_task(repeat(self.share, every=SHARE_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        if not self._orders:
            return
        try:
            await self.share()
        except BusUnavailable:
            if unsent := self._budget.unsent:
                get_log().warning("api_key_counts_lost", requests=unsent)

    async def share(self) -> None:
        """Send the costs still unknown to Redis, and exchange the used-up windows with the other
        gateways. Raises BusUnavailable.
        """
        await self._budget.send()
        for order in self.all():
            stored = UsedUpWindows(order.provider)
            if (data := await self._bus.get(used_up_key(order.provider))) is not None:
                with contextlib.suppress(ClientError):  # written by a version with another format
                    stored = decode_payload(UsedUpWindows, data)
            order.adopt(stored.windows)
            state = order.state
            # Written again whenever it lacks something of ours: two gateways may write at once.
            if state.windows and state != stored:
                ends = max(window.until for window in state.windows) - time.time()
                await self._bus.put(
                    used_up_key(order.provider),
                    encode_payload(state),
                    ttl=max(LEAST_TTL_SECONDS, ends),
                )
