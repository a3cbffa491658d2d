"""The cookie of a browser that has signed in with a token.

The cookie is not the token. It names the token and an end, signed with a key derived from the
token: every gateway can check the cookie, restarts do not matter, and the cookie is worth nothing
once the token is changed or deleted. Of a token that is kept as a hash, the key is derived from the
hash and from a secret of this machine, so that a copy of the hashes makes no cookie. The cookie is
accepted for our pages and the addresses they use (COOKIE_PATHS), never for a model. Browsers send
the cookie to every port of the machine, so its name carries our port, and other servers there learn
nothing they could use as a token.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass

from shared.accounts.token_limits import Limits
from shared.settings.security import Scope

SIGNED_IN_SECONDS = 14 * 24 * 3600
PURPOSE = b"ccproxy sign-in 1"  # every use of the token derives a key of its own
COOKIE_PATHS = (
    "/dashboard",
    "/permissions",
    "/docs",
    "/openapi.json",
    "/logs",
    "/usage",
    "/captures",
    "/metrics",
    "/health",
    "/sdk/sessions",
    "/sdk/status",
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the owner's: `name` marks its requests, `scopes` are the allowed scopes.

    `key` signs the cookies of browsers that signed in with the token; `digest` is the SHA-256 of
    the token in hexadecimal digits. `expires_at` is in UTC seconds since 1970. An empty list of
    `models` or `routes` allows all. `hold` is the longest wait of its requests for the reset of a
    limit, in seconds, and `priority` their place in a queue.
    """

    name: str
    key: bytes
    scopes: frozenset[Scope]
    digest: str = ""
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    limits: Limits = ()
    at_once: int = 0
    hold: float = 0.0
    priority: str = ""

    def has_expired(self, now: float) -> bool:
        return self.expires_at is not None and now >= self.expires_at


def accepts_cookie(path: str) -> bool:
    """Return True if `path` is a page of ours, or an address that our pages use."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in COOKIE_PATHS)


def cookie_name(host: bytes) -> str:
    """Return the cookie's name for a Host header: stacks on several ports of one machine must not
    share the cookie.
    """
    port = host.rpartition(b":")[2]
    return f"ccproxy-{port.decode()}" if port.isdigit() else "ccproxy"


def make_cookie(token: Token, now: float | None = None) -> str:
    """Return the value of the cookie for a browser that sent `token`."""
    ends = int((time.time() if now is None else now) + SIGNED_IN_SECONDS)
    return f"{token.name}:{ends}:{signature(token, ends)}"


def read_cookie(value: str, tokens: Iterable[Token], now: float | None = None) -> Token | None:
    """Return the token behind a cookie; None for an old or altered cookie, or for a
    deleted token.
    """
    name, _, rest = value.partition(":")
    ends, _, given = rest.partition(":")
    if not (ends.isascii() and ends.isdigit() and len(ends) < 16 and given.isascii()):
        return None
    at = time.time() if now is None else now
    for token in tokens:
        if token.name == name and hmac.compare_digest(signature(token, int(ends)), given):
            return token if int(ends) > at and not token.has_expired(at) else None
    return None


def signature(token: Token, ends: int) -> str:
    key = hmac.digest(token.key, PURPOSE, "sha256")
    return hmac.digest(key, f"{token.name}:{ends}".encode(), "sha256").hex()


def cookie_given(headers: dict[bytes, bytes]) -> str:
    """Return the value of our cookie among the browser's cookies, or an empty text."""
    wanted = cookie_name(headers.get(b"host", b""))
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value
    return ""


def set_cookie(host: bytes, value: str, scheme: str) -> str:
    """Return the `set-cookie` header that stores `value` in the browser; an empty value removes the
    cookie.
    """
    age = SIGNED_IN_SECONDS if value else 0
    secure = "; Secure" if scheme == "https" else ""
    return f"{cookie_name(host)}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
