"""A provider's own model list: fetched on demand, kept for a while, and never lost again.

A list that cannot be fetched is no error: the last good list is used, or none, and model names then
pass unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping

from shared.accounts.models import claude_capabilities, codex_capabilities, is_exact, resolve_model
from shared.formats.ir import Json, Vendor
from shared.formats.written import Capabilities
from shared.runtime.errors import CCProxyError
from shared.runtime.log import get_log

FRESH_SECONDS = 3600.0
# After a failure: an unreachable provider costs one request a minute.
RETRY_SECONDS = 60.0
# The longest wait of a request for the very first list; then the request goes on without a list.
TIMEOUT_SECONDS = 3.0


class Catalogue:
    """The model list of one provider. `fetch` returns the list in the provider's shape, or raises
    CCProxyError.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[list[Json]]], vendor: Vendor, aliases: Mapping[str, str]
    ) -> None:
        self._fetch = fetch
        self._vendor = vendor
        self._aliases = aliases
        self._listed: list[Json] = []
        self._failure: CCProxyError | None = None
        self._fetched = False
        self._due = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def listed(self) -> list[Json]:
        """Return the list as known now, and refresh an old list in the background.

        Only the very first fetch is waited for, at most TIMEOUT_SECONDS.
        """
        # One fetch at a time, however many requests find the list old.
        if time.monotonic() >= self._due and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
        if not self._fetched and self._refreshing is not None:
            with contextlib.suppress(TimeoutError):
                # Shielded: a request that stops waiting must not cancel the fetch of all others.
                await asyncio.wait_for(asyncio.shield(self._refreshing), TIMEOUT_SECONDS)
        return self._listed

    async def demand(self) -> list[Json]:
        """Return the list for a request about models. Raises the last failure while no list was
        ever fetched.
        """
        listed = await self.listed()
        if not listed and self._failure is not None:
            raise self._failure
        return listed

    @property
    def problem(self) -> str:
        """The reason for the failure of the last fetch; empty after a success."""
        return self._failure.message if self._failure is not None else ""

    async def resolve(self, name: str) -> str:
        """Return the provider's model for a client's name. The provider's own name costs no
        look-up.
        """
        if not self._aliases and is_exact(name, self._vendor):
            return name
        return resolve_model(name, self._aliases, await self.listed(), self._vendor)

    async def capabilities(self, model: str) -> Capabilities:
        of = claude_capabilities if self._vendor == "anthropic" else codex_capabilities
        return of(model, await self.listed())

    async def _refresh(self) -> None:
        wait = RETRY_SECONDS
        try:
            self._listed = await self._fetch()
            self._failure = None
            wait = FRESH_SECONDS
        except CCProxyError as error:
            get_log().debug("models_not_listed", reason=error.message)
            self._failure = error
        finally:
            self._fetched = True  # also after a failure: no request waits for the first list again
            self._due = time.monotonic() + wait
            self._refreshing = None

    def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
