"""`/pair`: a phone opens the link of `ccproxy phone`, its owner taps once, and the browser has the
cookie of the phone's token.

The link's secret stands behind `#`, so that no server, proxy or log on the way sees it in an
address. Opening the link redeems nothing: the previews of chat programs open links too. Only the
form of the page redeems it, and the guard accepts the form from our own page alone.
"""

from __future__ import annotations

import html
import time
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.pages.files import fill_page, render_page
from gateway.routes.signin import (
    MAX_FORM_BYTES,
    WRONG_FORM_SECONDS,
    WRONG_FORMS,
    sign_in_browser,
)
from gateway.server.asgi import within
from gateway.server.attempts import Attempts
from gateway.server.context import context_of
from gateway.server.guard import Guard, given_secrets
from gateway.server.pairings import PAIRING_SECONDS, Pairings
from shared.runtime.errors import BusUnavailable, Busy, ClientError

SCRIPTS = frozenset({"pair.js"})
PHONE_PAGE = "/permissions/ui"
USED_UP = "This link was used or is older than five minutes. Run `ccproxy phone` again."


def pairing_router(guard: Guard, pairings: Pairings) -> APIRouter:
    routes = APIRouter()
    attempts = Attempts(WRONG_FORMS, WRONG_FORM_SECONDS)

    @routes.post("/permissions/pairings", tags=["permissions"])
    async def offer(request: Request) -> dict[str, Any]:
        """Return the `secret` of a link that signs in one browser, once, as the request's own
        token; `expires_in` is in seconds.
        """
        token = guard.tokens.find(given_secrets(context_of(request.scope).headers))
        if token is None:
            raise ClientError("A pairing needs the token of a phone, in `x-api-key` or as Bearer.")
        return {"secret": await pairings.offer(token), "expires_in": int(PAIRING_SECONDS)}

    @routes.get("/pair", response_model=None, include_in_schema=False)
    async def form() -> Response:
        """Return the page with one button; nothing is redeemed."""
        return pair_page()

    @routes.post("/pair", response_model=None, include_in_schema=False)
    async def redeem(request: Request) -> Response:
        """Redeem the link's secret, and send the cookie of its token."""
        body = within(await request.body(), MAX_FORM_BYTES)
        secret = parse_qs(body.decode("utf-8", "replace")).get("secret", [""])[0]
        client = context_of(request.scope).record.client_ip
        try:
            attempts.check(client)
            token = await pairings.redeem(secret, time.time())
        except Busy as error:
            return pair_page(error.message, secret, 429, error.headers)
        except BusUnavailable as error:
            return pair_page(f"{error.message} Try again.", secret, 503)
        if token is None:
            attempts.fail(client)
            return pair_page(USED_UP, status=401)
        return sign_in_browser(request, guard, token, PHONE_PAGE)

    @routes.get("/pair/{name}", response_model=None, include_in_schema=False)
    async def script(name: str) -> Response:
        return render_page(name, SCRIPTS)

    return routes


def pair_page(
    problem: str = "", secret: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the page, with the problem of the last attempt and the secret that may be tried
    again.
    """
    places = {"problem": html.escape(problem), "secret": html.escape(secret)}
    return fill_page("pair.html", places, status, headers)
