"""The token endpoints of both providers, asked over HTTP.

A refusal (the login is spent, log in again) and a failure (the server did not do its work, try
later) are two errors. The HTTP client (`token_http.py`) is loaded by the first exchange: most
processes never make one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from shared.accounts.login import EXCHANGE_SECONDS
from shared.accounts.oauth import AskTokenServer, GrantRefused, parse_token_reply
from shared.runtime.errors import UpstreamError

# Errors a token server gives for its own reasons, in the place where it names those of a grant (RFC
# 6749, 5.2).
PASSING_ERRORS = frozenset(
    {"temporarily_unavailable", "server_error", "slow_down", "rate_limit_error", "api_error"}
)
REFUSING_STATUSES = frozenset({400, 401, 403})


class Answer(Protocol):
    """The reply of a server, as the HTTP client has it."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...


class HttpClient(Protocol):
    """The HTTP client of `token_http.py`."""

    async def send(self, method: str, url: str, **options: Any) -> Answer: ...
    async def aclose(self) -> None: ...


class TokenServer:
    """A lazily opened client for token endpoints. `skew` is the seconds by which this machine's
    clock is behind the token servers' clock.
    """

    def __init__(self) -> None:
        self.skew = 0.0
        self._client: HttpClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ask(self, url: str, ask: AskTokenServer) -> dict[str, Any]:
        """Return the tokens. Raises GrantRefused, or UpstreamError when the server could not be
        asked.
        """
        encoded: dict[str, Any] = (
            {"json": dict(ask.fields)} if ask.as_json else {"data": dict(ask.fields)}
        )
        reply = await self._send("POST", url, headers={"accept": "application/json"}, **encoded)
        if not isinstance(reply.get("access_token"), str):
            raise UpstreamError(
                f"The token server at {urlsplit(url).hostname} answered without a token."
            )
        return reply

    async def get(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return a page about the account. Raises like `ask`."""
        return await self._send("GET", url, headers=dict(headers))

    async def _send(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        host = urlsplit(url).hostname or ""
        client = await self._opened()
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                answer = await client.send(method, url, **options)
        except (OSError, TimeoutError) as error:
            raise UpstreamError(
                f"{host} cannot be reached: {str(error) or type(error).__name__}."
            ) from error
        self.skew = skew_of(answer.headers, time.time())
        reply = parse_token_reply(answer.content)
        if 200 <= answer.status_code < 300:
            return reply
        raise refusal(host, answer.status_code, answer.headers, reply)

    async def _opened(self) -> HttpClient:
        """Return the HTTP client. A thread imports the client's library, so no stream waits for the
        import.
        """
        http = await asyncio.to_thread(import_module, "shared.accounts.token_http")
        # Looked at after the import, which waits: two exchanges would else open a client each, and
        # one would stay open.
        if self._client is None:
            self._client = http.Client()
        return self._client


def skew_of(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that a server's clock is ahead of `now`; 0 without a `date` header."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() - now
    except (KeyError, ValueError):
        return 0.0


def refusal(
    host: str, status: int, headers: Mapping[str, str], reply: Mapping[str, Any]
) -> GrantRefused | UpstreamError:
    """Return the error for a reply of `host`. Only a reply that names an OAuth error is about the
    login.
    """
    error = reply.get("error")
    said = reply.get("error_description")
    if isinstance(error, dict):
        details: dict[str, Any] = error
        error = details.get("code") or details.get("type")
        said = details.get("message")
    words = f"{error or status}" + (f" ({str(said)[:200]})" if said else "")
    if status in REFUSING_STATUSES and error and error not in PASSING_ERRORS:
        return GrantRefused(f"{host} refused the login: {words}.")
    waits = headers.get("retry-after", "")
    told = {"retry-after": waits} if waits.isdigit() else {}
    return UpstreamError(f"{host} answered {status}: {words}.", headers=told)
