"""OAuth as both providers speak it: proof keys, the token endpoint, and what an issuer of logins has to know.

A refusal (the login is spent, log in again) and a failure (the server did not do its work, try later) are two errors.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from shared.credentials.login import Login
from shared.errors import CredentialsExpired, UpstreamError
from shared.version import USER_AGENT

TIMEOUT = httpx.Timeout(30, connect=10)
EXCHANGE_SECONDS = 30.0  # for a whole exchange; whoever stops a process that may be in one waits longer
LAST_SECOND = 1e11  # in the year 5138; a later one is a mistake
# Errors a token server gives for its own reasons, in the place where it names those of a grant (RFC 6749, 5.2).
PASSING_ERRORS = frozenset({"temporarily_unavailable", "server_error", "slow_down", "rate_limit_error", "api_error"})


class GrantRefused(CredentialsExpired):
    """The token server no longer accepts this login."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a token endpoint, in the encoding expected by the server."""

    fields: Mapping[str, str]
    as_json: bool


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A begun login: the state required in the callback, and the verifier for the exchange of the
    code.
    """

    provider: str
    state: str
    verifier: str
    redirect_uri: str
    started_at: float

    @classmethod
    def begin(cls, provider: str, redirect_uri: str) -> PendingLogin:
        return cls(provider, secrets.token_urlsafe(32), secrets.token_urlsafe(32), redirect_uri, time.time())

    @property
    def challenge(self) -> str:
        """RFC 7636, method S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class Issuer(Protocol):
    """An issuer of logins: its token server, the wording of requests, and the layout of tokens in a
    login file.
    """

    name: str
    title: str
    token_url: str
    redirect: tuple[str, int, str]  # host, port (0: any) and path of the loopback address a browser returns to
    manual_redirect: str  # the page that shows a code to copy; empty: copy the address the browser ended at
    fix: str  # the command that makes a new login
    instead: str  # what serves without any renewal
    files: list[Path]  # where a login may be, best first; a new one goes to the first
    indent: int | None

    def authorize_url(self, pending: PendingLogin) -> str: ...
    def ask_exchange(self, pending: PendingLogin, code: str) -> Ask: ...
    def ask_refresh(self, login: Login) -> Ask: ...
    def headers(self, login: Login) -> dict[str, str]: ...
    def read_login(self, content: Mapping[str, Any]) -> Login | None: ...
    def write_login(self, content: Mapping[str, Any], reply: Mapping[str, Any], now: float) -> dict[str, Any]: ...
    def without_login(self, content: Mapping[str, Any]) -> dict[str, Any]: ...
    async def about(self, tokens: TokenServer, login: Login) -> dict[str, Any]: ...


class TokenServer:
    """A lazily opened client for token endpoints. `skew` is the seconds of this machine's clock
    behind the servers' clock.
    """

    def __init__(self) -> None:
        self.skew = 0.0
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ask(self, url: str, ask: Ask) -> dict[str, Any]:
        """The tokens. Raises GrantRefused, or UpstreamError when the server could not be asked."""
        encoded: dict[str, Any] = {"json": dict(ask.fields)} if ask.as_json else {"data": dict(ask.fields)}
        reply = await self._send("POST", url, headers={"accept": "application/json"}, **encoded)
        if not isinstance(reply.get("access_token"), str):
            raise UpstreamError(f"The token server at {httpx.URL(url).host} answered without a token.")
        return reply

    async def get(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """A page about the account. Raises like `ask`."""
        return await self._send("GET", url, headers=dict(headers))

    async def _send(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        self._client = self._client or httpx.AsyncClient(timeout=TIMEOUT, headers={"user-agent": USER_AGENT})
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                response = await self._client.request(method, url, **options)
        except (httpx.HTTPError, TimeoutError) as error:
            host = httpx.URL(url).host
            raise UpstreamError(f"{host} cannot be reached: {str(error) or type(error).__name__}.") from error
        self.skew = skew_of(response.headers, time.time())
        reply = parse_object(response.content)
        if response.is_success:
            return reply
        raise refusal(response, reply)


def skew_of(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds of a server's clock ahead of `now`; 0 without a `date` header."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() - now
    except (KeyError, ValueError):
        return 0.0


def refusal(response: httpx.Response, reply: Mapping[str, Any]) -> GrantRefused | UpstreamError:
    """Return the error for a reply. Only a reply that names an OAuth error is about the login."""
    error, said = reply.get("error"), reply.get("error_description")
    if isinstance(error, dict):
        details: dict[str, Any] = error
        error, said = details.get("code") or details.get("type"), details.get("message")
    words = f"{error or response.status_code}" + (f" ({str(said)[:200]})" if said else "")
    host = response.request.url.host
    if response.status_code in {400, 401, 403} and error and error not in PASSING_ERRORS:
        return GrantRefused(f"{host} refused the login: {words}.")
    waits = response.headers.get("retry-after", "")
    return UpstreamError(
        f"{host} answered {response.status_code}: {words}.", headers={"retry-after": waits} if waits.isdigit() else {}
    )


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object in `data`; an empty object for any other content."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object called `name` inside `content`; an empty object for any other value.

    A reply paid for with a refresh token is never thrown away over a field of the wrong kind.
    """
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def text(content: Mapping[str, Any], name: str) -> str:
    found = content.get(name)
    return found if isinstance(found, str) else ""


def seconds(content: Mapping[str, Any], name: str, *, unit: float = 1.0) -> float:
    """Return a time or a time span, given in units of `unit` seconds, in seconds; 0 if absent."""
    found = content.get(name)
    told = found * unit if isinstance(found, int | float) else 0.0
    return told if 0 < told < LAST_SECOND else 0.0


def claims_of(token: Any) -> dict[str, Any]:
    """Return the claims of a JWT. The check of the signature is left to the receiver of the token."""
    if not isinstance(token, str) or token.count(".") != 2:
        return {}
    payload = token.split(".")[1]
    try:
        return parse_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
