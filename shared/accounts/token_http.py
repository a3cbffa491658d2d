"""The HTTP client of the token endpoints. It honours the proxies and certificates of the
environment.
"""

from __future__ import annotations

from typing import Any

import httpx

from shared.runtime.version import USER_AGENT

TIMEOUT = httpx.Timeout(30, connect=10)


class Client:
    """A connection pool."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=TIMEOUT, headers={"user-agent": USER_AGENT})

    async def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Return the server's reply, with any status. Raises OSError without a reply."""
        try:
            return await self._client.request(method, url, **options)
        except httpx.HTTPError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        await self._client.aclose()
