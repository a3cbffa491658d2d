"""OAuth as both providers speak it: proof keys, requests to token endpoints, and what an issuer of
logins has to know.

Nothing here sends a request; `token_server.py` does.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Protocol

from shared.accounts.login import Login
from shared.runtime.errors import CredentialsExpired
from shared.runtime.exact_json import load_json

LAST_SECOND = 1e11  # in the year 5138; a later one is a mistake


class GrantRefused(CredentialsExpired):
    """The token server no longer accepts this login."""


@dataclass(frozen=True, slots=True)
class AskTokenServer:
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
        return cls(
            provider,
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            redirect_uri,
            time.time(),
        )

    @property
    def challenge(self) -> str:
        """RFC 7636, method S256."""
        return (
            base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest())
            .rstrip(b"=")
            .decode()
        )


class AccountPages(Protocol):
    """A reader of the provider's pages about an account: `TokenServer`."""

    async def get(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]: ...


class Issuer(Protocol):
    """An issuer of logins: its token server, the wording of requests, and the layout of tokens in a
    login file.
    """

    name: str
    title: str
    token_url: str
    # host, port (0: any) and path of the loopback address a browser returns to
    redirect: tuple[str, int, str]
    manual_redirect: (
        str  # the page that shows a code to copy; empty: copy the address the browser ended at
    )
    fix: str  # the command that makes a new login
    instead: str  # what serves without any renewal
    files: list[Path]  # where a login may be, best first; a new one goes to the first
    indent: int | None

    def authorize_url(self, pending: PendingLogin) -> str: ...
    def ask_exchange(self, pending: PendingLogin, code: str) -> AskTokenServer: ...
    def ask_refresh(self, login: Login) -> AskTokenServer: ...
    def headers(self, login: Login) -> dict[str, str]: ...
    def read_login(self, content: Mapping[str, Any]) -> Login | None: ...
    def write_login(
        self, content: Mapping[str, Any], reply: Mapping[str, Any], now: float
    ) -> dict[str, Any]: ...
    def without_login(self, content: Mapping[str, Any]) -> dict[str, Any]: ...
    async def about(self, pages: AccountPages, login: Login) -> dict[str, Any]: ...


def parse_token_reply(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; an empty object for any other content."""
    try:
        found = load_json(data)
    except JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object called `name` inside `content`; an empty object for any other value.

    A reply paid for with a refresh token is never thrown away over a field of the wrong kind.
    """
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def text_field(content: Mapping[str, Any], name: str) -> str:
    found = content.get(name)
    return found if isinstance(found, str) else ""


def seconds(content: Mapping[str, Any], name: str, *, unit: float = 1.0) -> float:
    """Return a time or a time span, given in units of `unit` seconds, in seconds; 0 if absent."""
    found = content.get(name)
    # Compared before it is multiplied: an integer may be beyond every float.
    if not isinstance(found, int | float) or not 0 < found < LAST_SECOND / unit:
        return 0.0
    return found * unit


def claims_of(token: Any) -> dict[str, Any]:
    """Return the claims of a JWT. The check of the signature is left to the receiver of
    the token.
    """
    if not isinstance(token, str) or token.count(".") != 2:
        return {}
    payload = token.split(".")[1]
    try:
        # Base64 in a JWT has no padding; the decoder wants it.
        return parse_token_reply(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
