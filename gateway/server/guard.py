"""The guard: admits or refuses a request. Loopback is hostile too: any web page in the owner's
browser can reach it.

So the Host must be a served name (no rebinding), the page behind a request must be our own
(`gateway/server/browser.py`), and a body must be JSON (no plain forms), or come with a header that
no page sends by itself. Once a token exists every address needs a token of the right scope, or, for
our pages, the cookie of a browser that has signed in with a token. The guard decides from the
request's head alone.

Health is answered to everybody, because load balancers have no token; its details need the scope
`admin`.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import NamedTuple, get_args

from gateway.server.attempts import Attempts
from gateway.server.browser import check_page, host_name, is_own_origin
from gateway.server.forwarded import TrustedProxies, is_loopback_address
from gateway.server.known_tokens import EVERYTHING, KnownTokens
from gateway.server.signed_in import Token, accepts_cookie, cookie_given, read_cookie
from shared.accounts.token_limits import Limits
from shared.accounts.tokens import Route
from shared.permissions.answer_links import ANSWER_LINK
from shared.permissions.deciders import BY_OWNER
from shared.runtime.errors import HeadersTooLarge, NotAllowed, NotAuthorized, UnsupportedMedia
from shared.runtime.times import minute_in_utc
from shared.settings.security import Scope, SecuritySettings
from shared.settings.servers import ServerSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# The only addresses for a plain form, which must come from our own pages.
FORM_PATHS = frozenset({"/signin", "/signout", "/pair"})
# Of the phone page. A browser fetches a manifest and its icons without a cookie; they say nothing.
INSTALLED_PATHS = {
    "/permissions/manifest.webmanifest",
    "/permissions/service-worker.js",
    "/permissions/ui/icon.svg",
    "/permissions/ui/icon-192.png",
    "/permissions/ui/icon-512.png",
}
# Without a token: liveness probes, and a provider's redirect with its secret `state`.
OPEN_PATHS = (
    FORM_PATHS
    | INSTALLED_PATHS
    | {
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/oauth/callback",
        "/signin/signin.css",
        "/pair/pair.js",
    }
)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_HEADERS = 128
MAX_HEADER_BYTES = 64 * 1024

CHALLENGE = "Bearer"
# Allowed from one address at once; a program with an old token must not be locked out for long.
WRONG_TOKENS = 30
WRONG_TOKEN_SECONDS = 2.0  # until a further token is compared

ROUTES: frozenset[str] = frozenset(get_args(Route))
ASKING: frozenset[Scope] = frozenset({"agent", "ask"})
# The scope for a path of one or two names and all paths below; the longer path counts, and paths
# without an entry need `use`. No scope includes another scope: a token with `ask` cannot grant
# permissions.
SCOPES: dict[str, Scope] = {
    "permissions": "approve",
    "mcp": "ask",
    "hooks": "ask",
    "logs": "admin",
    "usage": "admin",
    "captures": "admin",
    "metrics": "admin",
    "dashboard": "admin",
    "sdk/sessions": "admin",
    "sdk": "agent",
    "docs": "admin",
    "openapi.json": "admin",
}


# Requests that need `admin` although the path needs `use`: they delete or change shared things.
CHANGES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("DELETE", re.compile(r"/api/v1/(messages/batches|files|skills)/.*")),
    ("POST", re.compile(r"/api/v1/skills/[^/]+/versions")),
    ("POST", re.compile(r"/sdk/workers/[^/]+/drain")),
)
# Addresses for forms with files, or without a body. A web page can send both to any server, so
# a request must have a header from NO_PAGE_SENDS, or a Bearer token: no page can send these.
FORM_ADDRESSES = re.compile(
    r"/api/v1/(messages/batches|files|skills)(/.*)?|/codex(/v1)?/images/edits"
)
BATCHES = re.compile(r"/api/v1/messages/batches")
NO_PAGE_SENDS = (b"anthropic-version", b"x-api-key")


class Caller(NamedTuple):
    """The sender of an admitted request. `name` is the token's name, or "" without a token;
    `scopes` are the allowed scopes, `models` the patterns of the allowed models (none: all).
    `limits` and `at_once` are those of gateway/metering/token_ledger.py. `digest` is the SHA-256 of
    the token, or "". `hold` and `priority` are those of the token.
    """

    name: str
    scopes: frozenset[Scope]
    models: tuple[str, ...] = ()
    limits: Limits = ()
    at_once: int = 0
    digest: str = ""
    hold: float = 0.0
    priority: str = ""

    @property
    def is_owner(self) -> bool:
        """True for the owner's own token, and for every caller while no token is set."""
        return self.name in {"", BY_OWNER} and self.scopes == EVERYTHING

    @property
    def may_ask(self) -> bool:
        """True when the caller, not the owner, can make a permission request, directly or through
        an agent.
        """
        return not self.is_owner and bool(self.scopes & ASKING)


UNKNOWN_CALLER = Caller("", frozenset())  # of an open path, without a token
LOCAL_CALLER = Caller("", EVERYTHING)  # of a server without tokens


class Guard:
    """The rules for admitting requests, by Host, page, token and scope."""

    def __init__(self, server: ServerSettings, security: SecuritySettings) -> None:
        self.tokens = KnownTokens(security)
        self.proxies = TrustedProxies(server.trusted_proxies)
        self._attempts = Attempts(WRONG_TOKENS, WRONG_TOKEN_SECONDS)
        self._hosts = (
            LOOPBACK_NAMES
            | {host.lower() for host in security.allowed_hosts}
            | {server.host.lower()}
        )
        # The names that reach a wildcard bind are unknown. A token is required then, and no web
        # page has the token.
        self._any_host = is_wildcard(server.host) and self.tokens.required

    def admit(
        self,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        count: int = 0,
        peer: str = "",
        scheme: str = "http",
    ) -> Caller:
        """Return the caller of an allowed request. Raises NotAllowed, NotAuthorized or another
        ClientError.

        `count` is the number of headers before headers of the same name became one; `peer` and
        `scheme` are those of the connection. Raises Busy while wrong tokens are slowed.
        """
        if (
            count > MAX_HEADERS
            or sum(map(len, headers)) + sum(map(len, headers.values())) > MAX_HEADER_BYTES
        ):
            raise HeadersTooLarge
        # Host and page come before the token: a page of another site must not learn whether the
        # browser has signed in here.
        name = host_name(headers.get(b"host", b""))
        if not name or (not self._any_host and name not in self._hosts):
            raise NotAllowed(
                f"This server does not answer to the name {name!r}; add it to "
                "SECURITY__ALLOWED_HOSTS."
            )
        # The link itself is the credential, and any page may use it that knows it: ntfy's web page
        # is one.
        if ANSWER_LINK.fullmatch(path):
            return UNKNOWN_CALLER
        if b"sec-fetch-site" in headers or b"origin" in headers:
            check_page(method, path, headers, self.proxies.scheme(peer, headers, scheme))
        if path in FORM_PATHS:
            if method not in SAFE_METHODS and not is_own_origin(headers):
                raise NotAllowed("Only the form of our own page may send this.")
            return UNKNOWN_CALLER
        # Also on an open path: `/health` shows its details to a token of the scope `admin`.
        caller = self._identify(method, path, headers, peer)
        if caller is None:
            if path in OPEN_PATHS:
                return UNKNOWN_CALLER
            raise NotAuthorized(headers={"www-authenticate": CHALLENGE})
        if path not in OPEN_PATHS and (needed := scope_of(method, path)) not in caller.scopes:
            raise NotAllowed(
                f"The token {caller.name!r} may not do this: it lacks the scope {needed!r}."
            )
        if path in OPEN_PATHS:
            return caller
        # A web page can send a plain form without asking, as a POST. So a POST must be JSON, and
        # so must a body with a content type in any other request.
        if (
            method not in SAFE_METHODS
            and not is_json(headers)
            and (method == "POST" or b"content-type" in headers)
        ):
            check_form(path, headers)
        return caller

    def _identify(
        self, method: str, path: str, headers: dict[bytes, bytes], peer: str
    ) -> Caller | None:
        """Return the caller behind the request's token or cookie; None for a request without a
        known token or cookie, where one is required.

        Raises NotAuthorized for an expired token, NotAllowed for a request beyond the token's
        routes or models.
        """
        given = given_secrets(headers)
        if not self.tokens.required:
            token = self.tokens.find(given) if given else None
            return LOCAL_CALLER if token is None else as_caller(token, method, path)
        if not given:
            return self._signed_in(method, path, headers) if b"cookie" in headers else None
        client = self.proxies.client_address(peer, headers)
        # Programs of this machine share one address: one wrong token must not lock out all
        # programs.
        slowed = bool(client) and not is_loopback_address(client)
        if slowed:
            self._attempts.check(client)
        found = self.tokens.find(given)
        if found is None and slowed:
            self._attempts.fail(client)
        return None if found is None else as_caller(found, method, path)

    def _signed_in(self, method: str, path: str, headers: dict[bytes, bytes]) -> Caller | None:
        """Return the caller whose browser has signed in. Raises NotAllowed for a change no page of
        ours asked for.
        """
        if not accepts_cookie(path):
            return None
        token = read_cookie(cookie_given(headers), self.tokens.all())
        if token is None:
            return None
        if method not in SAFE_METHODS and not is_own_origin(headers):
            raise NotAllowed("A signed-in browser may change something only from our own pages.")
        return as_caller(token, method, path)


def as_caller(token: Token, method: str, path: str) -> Caller:
    """Return the caller with `token`. Raises NotAuthorized for an expired token, NotAllowed for a
    request beyond the token's routes or models.
    """
    if token.expires_at is not None and token.has_expired(time.time()):
        if path in OPEN_PATHS:
            return UNKNOWN_CALLER
        raise NotAuthorized(
            f"The token {token.name!r} expired at {minute_in_utc(token.expires_at)}; `ccproxy "
            f"token rotate {token.name}` makes a new one.",
            headers={"www-authenticate": CHALLENGE},
        )
    route = path.lstrip("/").partition("/")[0]
    if token.routes and route in ROUTES and route not in token.routes:
        allowed = ", ".join(f"/{name}" for name in token.routes)
        raise NotAllowed(f"The token {token.name!r} may not use /{route}; it may use {allowed}.")
    if token.models and method == "POST" and BATCHES.fullmatch(path):
        raise NotAllowed(
            f"The token {token.name!r} is limited to some models and may not make batches, whose "
            "models are not looked at here."
        )
    if token.limits and method == "POST" and BATCHES.fullmatch(path):
        raise NotAllowed(
            f"The token {token.name!r} has limits and may not make batches, whose tokens are known "
            "only after their end."
        )
    return Caller(
        token.name,
        token.scopes,
        token.models,
        token.limits,
        token.at_once,
        token.digest,
        token.hold,
        token.priority,
    )


def given_secrets(headers: dict[bytes, bytes]) -> list[bytes]:
    """Return the secrets offered as a token: `x-api-key`, Bearer, or the password that a browser
    asked its user for.
    """
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


def scope_of(method: str, path: str) -> Scope:
    """Return the scope needed for `method` at `path`."""
    for verb, addresses in CHANGES:
        if method == verb and addresses.fullmatch(path):
            return "admin"
    first, _, below = path.removeprefix("/").partition("/")
    second = below.partition("/")[0]
    return SCOPES.get(f"{first}/{second}") or SCOPES.get(first) or "use"


def check_form(path: str, headers: dict[bytes, bytes]) -> None:
    """Raise UnsupportedMedia for a body that is no JSON, unless the address takes forms and a
    program sent the body.
    """
    if not FORM_ADDRESSES.fullmatch(path):
        raise UnsupportedMedia
    bearer = headers.get(b"authorization", b"").lower().startswith(b"bearer ")
    if not bearer and not any(name in headers for name in NO_PAGE_SENDS):
        raise UnsupportedMedia(
            "A body that is not JSON is taken here with one of the headers that no web page sends "
            "by itself: `anthropic-version`, `x-api-key` or `Authorization: Bearer`."
        )


def is_json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound
