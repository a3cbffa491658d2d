"""`/docs`: every address this server has, drawn from `/openapi.json` by a page of our own; and `/`,
the way there.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gateway.pages.files import render_page
from gateway.server.browser import wants_page
from gateway.server.context import context_of
from gateway.server.signed_in import cookie_given
from shared.runtime.version import VERSION

PARTS = frozenset({"docs.html", "docs.css", "docs.js"})
INDEX = {
    "name": "CCProxy",
    "version": VERSION,
    "anthropic_base_url": "/api",
    "openai_base_url": "/api/v1",
    "other_base_urls": {"/sdk": "Claude Code's agent", "/codex": "ChatGPT"},
    "dashboard": "/dashboard",
    "documentation": "/docs",
    "health": "/health",
}


def docs_router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/", response_model=None)
    async def index(request: Request) -> Response | dict[str, Any]:
        """Lead a browser to the dashboard; name the base addresses to a program."""
        if wants_page(request.method, context_of(request.scope).headers):
            return RedirectResponse("/dashboard", 303)
        return INDEX

    @routes.get("/docs", response_model=None)
    async def docs(request: Request) -> Response:
        return render_page(
            "docs.html", PARTS, signed_in=bool(cookie_given(context_of(request.scope).headers))
        )

    @routes.get("/docs/{name}", response_model=None)
    async def part(name: str) -> Response:
        return render_page(name, PARTS)

    return routes
