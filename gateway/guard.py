"""Who may come in, and for what. Loopback is hostile too: any web page in the owner's browser can reach it.

So the Host must be one we serve (no rebinding), an Origin must be our own, a body must be JSON (no plain forms), and
once a token exists every address needs one of the right scope. Decided from the request's head alone.

Health is answered to everybody, because load balancers have no token; its details need the scope `admin`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import NamedTuple, get_args
from urllib.parse import urlsplit

from shared.errors import ClientError, HeadersTooLarge, NotAllowed, NotAuthorized, UnsupportedMedia
from shared.settings import OWNER, Scope, SecuritySettings, ServerSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# A liveness probe has no token; a provider's redirect has none either, but its state, which nobody can guess.
OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/oauth/callback"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_HEADERS = 128
MAX_HEADER_BYTES = 64 * 1024

CHALLENGE = 'Bearer, Basic realm="ccproxy"'

EVERYTHING: frozenset[Scope] = frozenset(get_args(Scope))
ASKING: frozenset[Scope] = frozenset({"agent", "ask"})
# The scope that each path and everything below the path needs; the first match counts, any other path needs `use`.
# No scope includes another: a token that may ask for permission cannot grant it.
SCOPES: tuple[tuple[str, Scope], ...] = (
    ("/permissions", "approve"),
    ("/mcp", "ask"),
    ("/logs", "admin"),
    ("/usage", "admin"),
    ("/metrics", "admin"),
    ("/dashboard", "admin"),
    ("/sdk/sessions", "admin"),
    ("/sdk", "agent"),
    ("/docs", "admin"),
    ("/openapi.json", "admin"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token the owner gave out: whose requests it marks, and what they may do."""

    name: str
    secret: bytes
    scopes: frozenset[Scope]


class Caller(NamedTuple):
    """The sender of an admitted request. `name` is the token's, "" without a token; `scopes` what it may do."""

    name: str
    scopes: frozenset[Scope]

    @property
    def is_owner(self) -> bool:
        """True for the owner's own token, and for every caller while no token is set."""
        return self.name in {"", OWNER} and self.scopes == EVERYTHING

    @property
    def may_ask(self) -> bool:
        """True when this caller, not the owner, can make a permission request, itself or through an agent."""
        return not self.is_owner and bool(self.scopes & ASKING)


UNKNOWN_CALLER = Caller("", frozenset())  # of an open path, without a token
LOCAL_CALLER = Caller("", EVERYTHING)  # of a server without tokens


class Guard:
    """Decide which requests are served."""

    def __init__(self, server: ServerSettings, security: SecuritySettings) -> None:
        self._tokens = tokens_of(security)
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in security.allowed_hosts} | {server.host.lower()}
        # a wildcard bind is reached by names we cannot know; a token is required then, and no page has it
        self._any_host = is_wildcard(server.host) and bool(self._tokens)

    def admit(self, method: str, path: str, headers: dict[bytes, bytes], count: int = 0) -> Caller:
        """Return the caller of a request that may be served. Raises NotAllowed, NotAuthorized or another ClientError.

        `count` is the number of headers before headers of the same name became one.
        """
        if count > MAX_HEADERS or sum(map(len, headers.values())) > MAX_HEADER_BYTES:
            raise HeadersTooLarge
        name = host_name(headers.get(b"host", b""))
        if not self._any_host and name not in self._hosts:
            raise NotAllowed(f"This server does not answer to the name {name!r}; add it to SECURITY__ALLOWED_HOSTS.")
        if origin := headers.get(b"origin"):
            self._check_origin(origin, name)
        caller = self._identify(headers) if self._tokens else LOCAL_CALLER
        if caller is None:
            if path in OPEN_PATHS:
                return UNKNOWN_CALLER
            raise NotAuthorized(headers={"www-authenticate": CHALLENGE})
        if path not in OPEN_PATHS and (needed := scope_of(path)) not in caller.scopes:
            raise NotAllowed(f"The token {caller.name!r} may not do this: it lacks the scope {needed!r}.")
        if path in OPEN_PATHS:
            return caller
        # what a plain form can send without asking is a POST; a body of any other kind is not ours to read
        if method not in SAFE_METHODS and not is_json(headers) and (method == "POST" or b"content-type" in headers):
            raise UnsupportedMedia
        return caller

    def _check_origin(self, origin: bytes, host: str) -> None:
        name = origin_name(origin)
        if name != host and name not in self._hosts:
            raise NotAllowed("Web pages of other origins may not use this server.")

    def _identify(self, headers: dict[bytes, bytes]) -> Caller | None:
        """Return the caller whose token the request carries, or None when it carries no token of ours."""
        given = given_secrets(headers)
        found = None
        for token in self._tokens:  # every one is compared: the time taken tells nothing
            for secret in given:
                if hmac.compare_digest(secret, token.secret):
                    found = token
        return None if found is None else Caller(found.name, found.scopes)


def tokens_of(security: SecuritySettings) -> list[Token]:
    named = [
        Token(token.name, token.token.get_secret_value().encode(), frozenset(token.scopes)) for token in security.tokens
    ]
    if security.auth_token is None:
        return named
    return [Token(OWNER, security.auth_token.get_secret_value().encode(), EVERYTHING), *named]


def given_secrets(headers: dict[bytes, bytes]) -> list[bytes]:
    """What the caller offers as a token: `x-api-key`, Bearer, or the password a browser asked its user for."""
    given = [headers[b"x-api-key"]] if b"x-api-key" in headers else []
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        given.append(value.strip())
    elif scheme.lower() == b"basic":
        try:
            given.append(base64.b64decode(value, validate=True).partition(b":")[2])
        except binascii.Error:
            return given
    return given


def scope_of(path: str) -> Scope:
    for prefix, scope in SCOPES:
        if path == prefix or path.startswith(prefix + "/"):
            return scope
    return "use"


def origin_name(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("latin-1")).hostname or ""
    except ValueError as error:
        raise ClientError("The Origin header is no address.") from error


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
