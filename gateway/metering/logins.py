"""The logins as this gateway sees them, shared for alerts: how each is renewed, and when it ends.

Only the process that tried a renewal knows that it was refused, so every gateway reports by itself.
A key ends soon after its gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from shared.accounts.account import Account
from shared.accounts.login import LoginFacts, login_key
from shared.bus import Bus
from shared.bus.channels import encode_payload
from shared.runtime.background import end_task, repeat

LOOK_SECONDS = 30.0
TTL_SECONDS = 3 * LOOK_SECONDS


class SharedLogins:
    """The logins of `accounts`, by provider, and the task that shares the logins while open."""

    def __init__(self, bus: Bus, instance: str, accounts: Mapping[str, Account]) -> None:
        self._bus = bus
        self._instance = instance
        self._accounts = accounts
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SharedLogins:
        self._task = asyncio.create_task(repeat(self.share, every=LOOK_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def share(self) -> None:
        """Write the facts of every subscription's login to Redis. Raises BusUnavailable."""
        for provider, account in self._accounts.items():
            state = await account.describe()
            # API keys and given tokens have no date, and nothing renews them.
            if state.renewal is None:
                continue
            facts = LoginFacts(provider, state.renewal, state.expires_at or 0.0)
            key = login_key(provider, self._instance)
            await self._bus.put(key, encode_payload(facts), ttl=TTL_SECONDS)
