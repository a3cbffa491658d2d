"""Who may come in. Loopback is hostile too: any web page in the owner's browser can reach it.

So the Host must be one we serve (no rebinding), an Origin must be our own, a body must be JSON (no plain forms), and
with a token set every address but `/health/live` needs it. Decided from the request's head alone.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from shared.errors import NotAllowed, NotAuthorized, UnsupportedMedia
from shared.settings import SecuritySettings, ServerSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/health/live"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """`admit` returns the caller's name, or raises NotAllowed, NotAuthorized or UnsupportedMedia."""

    def __init__(self, server: ServerSettings, security: SecuritySettings) -> None:
        self._token = security.auth_token.get_secret_value().encode() if security.auth_token else b""
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in security.allowed_hosts} | {server.host.lower()}
        # a wildcard bind is reached by names we cannot know; the token is required then, and no page has it
        self._any_host = is_wildcard(server.host) and bool(self._token)

    def admit(self, method: str, path: str, headers: dict[bytes, bytes]) -> str:
        self._check_host(headers.get(b"host", b""))
        if origin := headers.get(b"origin"):
            self._check_origin(origin)
        if path in OPEN_PATHS:
            return ""
        caller = self._check_token(headers)
        if method not in SAFE_METHODS and not is_json(headers):
            raise UnsupportedMedia
        return caller

    def _check_host(self, host: bytes) -> None:
        if not self._any_host and host_name(host) not in self._hosts:
            raise NotAllowed(
                f"This server does not answer to the name {host_name(host)!r}; add it to SECURITY__ALLOWED_HOSTS."
            )

    def _check_origin(self, origin: bytes) -> None:
        name = urlsplit(origin.decode("latin-1")).hostname or ""
        if name not in self._hosts:
            raise NotAllowed("Web pages of other origins may not use this server.")

    def _check_token(self, headers: dict[bytes, bytes]) -> str:
        if not self._token:
            return ""
        given = headers.get(b"x-api-key", b"")
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        matches = [hmac.compare_digest(given, self._token)]
        matches.append(scheme.lower() == b"bearer" and hmac.compare_digest(bearer.strip(), self._token))
        if not any(matches):
            raise NotAuthorized
        return "owner"


def host_name(host: bytes) -> str:
    """The name in a Host header, without its port."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] or text if text.count(":") == 1 else text


def is_json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound


def is_loopback(host: str) -> bool:
    """Whether an address to bind can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
