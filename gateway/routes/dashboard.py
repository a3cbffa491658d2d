"""`/dashboard`: a page of our own that asks the other addresses. It loads nothing from anywhere
else.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.pages.files import render_page
from gateway.server.context import context_of
from gateway.server.signed_in import cookie_given
from shared.runtime.errors import NotFound
from shared.settings.tree import ObservabilitySettings

MODULES = frozenset(
    f"{name}.js"
    for name in (
        "dashboard",
        "state",
        "ask",
        "live",
        "dom",
        "format",
        "table",
        "pager",
        "charts",
        "overview",
        "log",
        "filters",
        "detail",
        "explain",
        "sessions",
        "compare",
        "download",
        "included",
        "workers",
        "approvals",
        "notices",
        "signals",
        "requests",
        "profiles",
        "captures",
    )
)
PARTS = MODULES | {
    "dashboard.html",
    "dashboard.css",
    "requests.css",
    "profiles.css",
    "captures.css",
}


def dashboard_router(settings: ObservabilitySettings) -> APIRouter:
    routes = APIRouter(prefix="/dashboard", tags=["dashboard"], include_in_schema=False)

    def shown(name: str, *, signed_in: bool = False) -> Response:
        if off := settings.switched_off("dashboard_enabled"):
            raise NotFound(f"The dashboard is switched off ({off}).")
        return render_page(name, PARTS, signed_in=signed_in)

    @routes.get("", response_model=None)
    async def dashboard(request: Request) -> Response:
        """Return the page; its query names the view and the filters, and the page reads it."""
        return shown(
            "dashboard.html", signed_in=bool(cookie_given(context_of(request.scope).headers))
        )

    @routes.get("/{name}", response_model=None)
    async def part(name: str) -> Response:
        return shown(name)

    return routes
