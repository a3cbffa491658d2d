"""Pages are files of this package, served under a policy that lets nothing in but themselves."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.responses import Response

from shared.errors import NotFound

KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page(name: str, among: frozenset[str]) -> Response:
    """The file `name`. Raises NotFound unless it is one `among` those of the page."""
    if name not in among:
        raise NotFound
    kind = KINDS[name.rpartition(".")[2]]
    return Response(_content(name), media_type=f"{kind}; charset=utf-8", headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return files("gateway").joinpath("dashboard", name).read_bytes()
