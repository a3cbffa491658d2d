"""What alerts are decided from: quotas and logins that gateways share in Redis, and the outcomes of
requests that analytics knows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from permission_service.alerts.providers import ProviderOutcomes
from shared.accounts.login import LOGIN_PREFIX, LoginFacts
from shared.accounts.quota import QUOTA_PREFIX, Quota
from shared.accounts.used_up import USED_UP_PREFIX, UsedUpWindows
from shared.bus import Bus
from shared.bus.channels import LOGS_QUERY, LogsQuery, decode_payload
from shared.runtime.errors import CCProxyError, ClientError

ANSWER_SECONDS = 10.0  # for analytics; it may be busy with a large question

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutcomesAnswer:
    """The answer of analytics to the question `outcomes`."""

    results: list[ProviderOutcomes] = field(default_factory=list)


class Sources(Protocol):
    """The state of the stack, as far as alerts are about it."""

    async def quotas(self) -> list[Quota]:
        """Return the quota of every subscription. Raises BusUnavailable."""
        ...

    async def logins(self) -> list[LoginFacts]:
        """Return the facts of every gateway about every login. Raises BusUnavailable."""
        ...

    async def key_windows(self) -> list[UsedUpWindows]:
        """Return the used-up windows of every provider with an API key that may pay. Raises
        BusUnavailable.
        """
        ...

    async def outcomes(self) -> list[ProviderOutcomes] | None:
        """Return the outcomes of the last requests to every provider; None when unknown."""
        ...


class StackSources:
    """The state of the stack, read over `bus`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def quotas(self) -> list[Quota]:
        return await self._read(Quota, QUOTA_PREFIX)

    async def logins(self) -> list[LoginFacts]:
        return await self._read(LoginFacts, LOGIN_PREFIX)

    async def key_windows(self) -> list[UsedUpWindows]:
        return await self._read(UsedUpWindows, USED_UP_PREFIX)

    async def outcomes(self) -> list[ProviderOutcomes] | None:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._bus.call(LOGS_QUERY, LogsQuery("outcomes")) as replies,
            ):
                async for reply in replies:
                    return decode_payload(OutcomesAnswer, reply).results
        except (CCProxyError, TimeoutError):
            # Analytics is away or its file is, or no records are kept.
            return None
        return None

    async def _read(self, shape: type[T], prefix: str) -> list[T]:
        found: list[T] = []
        for data in (await self._bus.scan(prefix)).values():
            try:
                found.append(decode_payload(shape, data))
            except ClientError:  # written by a version with another format
                continue
        return found
