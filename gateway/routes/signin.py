"""`/signin` and `/signout`: a browser shows a token once and gets a cookie for our pages, or gives
the cookie back.

The form is plain HTML, so that it works without a script and password managers know it. The guard
accepts it from our own page only, and an address that was wrong too often has to wait.
"""

from __future__ import annotations

import html
import time
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gateway.pages.files import fill_page, render_page
from gateway.server.asgi import within
from gateway.server.attempts import Attempts
from gateway.server.context import context_of
from gateway.server.guard import Guard, scope_of
from gateway.server.signed_in import (
    Token,
    accepts_cookie,
    cookie_given,
    make_cookie,
    read_cookie,
    set_cookie,
)
from shared.runtime.errors import Busy

MAX_FORM_BYTES = 16 * 1024
WRONG_FORMS = 10  # allowed at once from one address; a person mistypes less often
WRONG_FORM_SECONDS = 10.0
STYLES = frozenset({"signin.css"})
FIRST_PAGE = "/dashboard"


def signin_router(guard: Guard) -> APIRouter:
    routes = APIRouter(tags=["system"], include_in_schema=False)
    attempts = Attempts(WRONG_FORMS, WRONG_FORM_SECONDS)

    @routes.get("/signin", response_model=None)
    async def form(request: Request) -> Response:
        """Return the sign-in page; redirect a signed-in browser, and any browser of a server
        without tokens, to the target.
        """
        target = safe_target(request.query_params.get("next", ""))
        headers = context_of(request.scope).headers
        cookie = cookie_given(headers)
        if not guard.tokens.required or read_cookie(cookie, guard.tokens.all()) is not None:
            return RedirectResponse(target, 303)
        return sign_in_page(target)

    @routes.post("/signin", response_model=None)
    async def sign_in(request: Request) -> Response:
        """Read the form, and send a cookie for a right token."""
        body = within(await request.body(), MAX_FORM_BYTES)
        fields = parse_qs(body.decode("utf-8", "replace"))
        target = safe_target(fields.get("next", [""])[0])
        client = context_of(request.scope).record.client_ip
        try:
            # Before the comparison: while an address is slowed, even a right token is not told
            # apart.
            attempts.check(client)
        except Busy as error:
            return sign_in_page(target, error.message, 429, error.headers)
        token = guard.tokens.find([fields.get("token", [""])[0].strip().encode()])
        if token is None or token.has_expired(time.time()):
            attempts.fail(client)
            problem = "This token has expired." if token else "This token is not known here."
            return sign_in_page(target, problem, 401)
        if (needed := scope_of("GET", target)) not in token.scopes:
            problem = (
                f"The token “{token.name}” may not open {target}: it lacks the scope “{needed}”."
            )
            return sign_in_page(target, problem, 403)
        return sign_in_browser(request, guard, token, target)

    @routes.post("/signout", response_model=None)
    async def sign_out(request: Request) -> Response:
        """Remove the cookie from the browser."""
        return redirect_with_cookie(request, guard, "", "/signin")

    @routes.get("/signin/{name}", response_model=None)
    async def style(name: str) -> Response:
        return render_page(name, STYLES)

    return routes


def safe_target(asked: str) -> str:
    """Return the page after the sign-in: `asked` for a page of ours, else the first page. Never
    another site.
    """
    path = asked.partition("?")[0]
    is_plain = (
        asked.isascii() and asked.isprintable() and "\\" not in asked and not asked.startswith("//")
    )
    return asked if is_plain and accepts_cookie(path) else FIRST_PAGE


def sign_in_page(
    target: str, problem: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the form, leading to `target`, with the problem of the last attempt."""
    alert = f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    places = {"next": html.escape(target), "problem": alert}
    return fill_page("signin.html", places, status, headers)


def sign_in_browser(request: Request, guard: Guard, token: Token, target: str) -> Response:
    """Lead the browser that sent `token`, or its pairing, to `target`, with the cookie of the
    token.
    """
    context_of(request.scope).record.caller = token.name
    return redirect_with_cookie(request, guard, make_cookie(token), target)


def redirect_with_cookie(request: Request, guard: Guard, value: str, target: str) -> Response:
    """Redirect a browser to `target`, and store the cookie's `value`; an empty value removes it."""
    headers = context_of(request.scope).headers
    peer = request.client.host if request.client else ""
    scheme = guard.proxies.scheme(peer, headers, request.scope["scheme"])
    cookie = set_cookie(headers.get(b"host", b""), value, scheme)
    return RedirectResponse(target, 303, {"set-cookie": cookie})
