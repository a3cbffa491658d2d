"""Pages: files of this package, served under a policy that allows no other source."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template

from starlette.responses import Response

from shared.runtime.errors import NotFound

KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
# The comment in a page that is replaced by the form for signing out.
SIGN_OUT_PLACE = b"<!--sign-out-->"
SIGN_OUT = (
    b'<form class="sign-out" method="post" action="/signout"><button>Sign out</button></form>'
)


def render_page(name: str, among: frozenset[str], *, signed_in: bool = False) -> Response:
    """Return the file `name`, with a control to sign out if the browser has signed in.

    Raises NotFound unless `name` is `among` the page's files.
    """
    if name not in among:
        raise NotFound
    content = page_content(name)
    if signed_in:
        content = content.replace(SIGN_OUT_PLACE, SIGN_OUT, 1)
    return page_response(content, name.rpartition(".")[2])


def page_response(
    content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a part of a page, of one of KINDS, under the policy of all pages."""
    return Response(content, status, HEADERS | (headers or {}), KINDS[kind])


def fill_page(
    name: str, places: dict[str, str], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the page file `name` with the HTML of `places`, each at the `$` and its name."""
    text = Template(page_content(name).decode()).substitute(places)
    return page_response(text.encode(), "html", status, headers)


@cache
def page_content(name: str) -> bytes:
    """Return the content of the page file `name` in the package."""
    return files("gateway").joinpath("pages", name).read_bytes()
