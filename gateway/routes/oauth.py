"""`/oauth/callback`: where a browser may bring the answer to a login begun on this machine, for
either provider.

Nothing is kept in memory: any gateway process can complete the login, by the state alone, once.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from gateway.server.context import context_of
from shared.accounts.pending import PAGE_HEADERS, PendingLogins, complete, login_page, read_answer
from shared.runtime.errors import CCProxyError
from shared.settings.tree import Settings


def oauth_router(settings: Settings) -> APIRouter:
    routes = APIRouter(tags=["system"])
    logins = PendingLogins(settings.server.run_dir)

    @routes.get("/oauth/callback", response_class=HTMLResponse)
    async def callback(request: Request) -> HTMLResponse:
        """Complete the login begun with the given `state`, and return a page with the result."""
        try:
            code, state = read_answer(str(request.url))
            await complete(settings, logins.take(state), code)
        except CCProxyError as error:
            record = context_of(request.scope).record
            record.error_kind = error.kind
            record.error_message = error.message[:500]
            return HTMLResponse(
                login_page("Not logged in", error.message), error.status, PAGE_HEADERS
            )
        return HTMLResponse(
            login_page("Logged in", "You can close this page."), headers=PAGE_HEADERS
        )

    return routes
