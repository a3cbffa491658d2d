"""The page behind a request, found by the headers that a browser adds and no page can forge.

`Host` must be spelled as a browser spells it. `Sec-Fetch-Site` says whether the page is ours; where
an older browser or plain http leaves it out, `Origin` does, and is compared whole: scheme, name and
port. Pages of other origins, also of other ports of this machine, may do one thing only: lead the
user to one of our pages (PAGES), by a link.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.server.asgi import Headers
from shared.runtime.errors import NotAllowed

# Addresses that a link on another site may open. A login at a provider ends at /oauth/callback.
PAGES = frozenset(
    {"/", "/dashboard", "/permissions/ui", "/docs", "/signin", "/pair", "/oauth/callback"}
)
HOST = re.compile(
    rb"(?P<name>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
DEFAULT_PORTS = {"http": b"80", "https": b"443"}

# Headers of every response except pages, which bring their own policy (`gateway/pages/files.py`).
RESPONSE_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


@lru_cache(maxsize=1024)
def host_name(host: bytes) -> str:
    """Return the name in a Host header, without its port; "" for a spelling no browser
    would send.
    """
    found = HOST.fullmatch(host.lower())
    return found["name"].decode().strip("[]") if found else ""


def is_navigation(method: str, headers: dict[bytes, bytes]) -> bool:
    """Return True if the user opens the address in a window, as by a link."""
    return (
        method in {"GET", "HEAD"}
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )


def check_page(method: str, path: str, headers: dict[bytes, bytes], scheme: str) -> None:
    """Raise NotAllowed unless the request comes from a page of ours, from the user directly, or
    from a program.
    """
    site = headers.get(b"sec-fetch-site")
    if site not in {None, b"same-origin", b"none"} and not (
        path in PAGES and is_navigation(method, headers)
    ):
        raise NotAllowed("Web pages of other origins may not use this server.")
    if (origin := headers.get(b"origin")) is None:
        return
    host = headers.get(b"host", b"").lower()
    if origin.lower() == origin_of(scheme, host):
        return
    # A proxy may end TLS without saying so; then the browser's `Origin` decides the scheme.
    if site == b"same-origin" and origin.lower() in {
        origin_of("http", host),
        origin_of("https", host),
    }:
        return
    raise NotAllowed(
        "Web pages of other origins may not use this server. Behind a reverse proxy with TLS, the "
        "proxy must send `Host` and `X-Forwarded-Proto`, and be one of SERVER__TRUSTED_PROXIES."
    )


def origin_of(scheme: str, host: bytes) -> bytes:
    """Return the origin that a browser names for pages under `host`; browsers leave out the
    scheme's default port.
    """
    return f"{scheme}://".encode() + host.removesuffix(b":" + DEFAULT_PORTS.get(scheme, b"80"))


def is_own_origin(headers: dict[bytes, bytes]) -> bool:
    """Return True if a request that passed `check_page` is known to come from a page of ours."""
    return b"origin" in headers or headers.get(b"sec-fetch-site") == b"same-origin"


def wants_page(method: str, headers: dict[bytes, bytes]) -> bool:
    """Return True if a browser asks for a page to show to its user."""
    return method in {"GET", "HEAD"} and b"text/html" in headers.get(b"accept", b"")
