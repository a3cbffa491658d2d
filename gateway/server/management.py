"""The application of all but the proxy routes: health, metrics, logs, permissions, pages.

Its refusals speak the product's words in the dialect of the path, and a miss names the address that
was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.server.access_log import shown_path
from gateway.server.addresses import Addresses
from gateway.server.asgi import ASGIApp
from gateway.server.context import context_of
from gateway.server.openapi import describe_endpoints
from gateway.server.problems import dialect_of, render_error
from gateway.server.switch import allow, methods_of
from shared.runtime.errors import CCProxyError, ClientError, NotFound
from shared.runtime.version import VERSION


def build_management(
    endpoints: Mapping[str, ASGIApp], parts: object, *routers: APIRouter
) -> tuple[FastAPI, Addresses]:
    """Return the application of all but the proxy routes, and the addresses of both. Endpoints find
    `parts` in the state of their application.
    """
    app = FastAPI(
        title="CCProxy", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state = State({"parts": parts})
    for router in routers:
        app.router.routes.extend(router.routes)
    app.add_exception_handler(CCProxyError, show_problem)
    app.add_exception_handler(RequestValidationError, show_invalid)
    describe_endpoints(app, endpoints)
    addresses = addresses_of(endpoints, routers)
    app.add_exception_handler(HTTPException, partial(show_http_error, addresses=addresses))
    return app, addresses


def addresses_of(endpoints: Mapping[str, ASGIApp], routers: Iterable[APIRouter]) -> Addresses:
    """Return the addresses of the proxy routes and of the routes of `routers`."""
    served: dict[str, set[str]] = {}
    pages: dict[str, set[str]] = {}
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            shown = served if route.include_in_schema else pages
            shown.setdefault(route.path_format, set()).update(route.methods or ())
    for path, endpoint in endpoints.items():
        served.setdefault(path, set()).update(methods_of(endpoint))
    return Addresses(served, pages)


async def show_problem(request: Request, error: Exception) -> Response:
    record = context_of(request.scope).record
    known = error if isinstance(error, CCProxyError) else CCProxyError()
    record.error_kind = known.kind
    record.error_message = known.message
    problem = render_error(known, dialect_of(request.url.path), record.request_id)
    response = Response(problem.body, problem.status)
    response.raw_headers = problem.headers
    return response


async def show_http_error(request: Request, error: Exception, addresses: Addresses) -> Response:
    """Return Starlette's own refusals (no such address, wrong method) in our words and the path's
    dialect.
    """
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.url.path
    method = context_of(request.scope).record.method
    methods = addresses.methods(path)
    if status == 404 and methods and method not in methods:
        status = 405
    if status == 405:
        said = error.headers or {} if isinstance(error, HTTPException) else {}
        taken = allow(methods) or said.get("Allow", "")
        known: CCProxyError = ClientError(
            f"{method} {shown_path(path)}: this address does not take {method}; it takes {taken}.",
            headers={"allow": taken},
        )
    elif status == 404:
        known = NotFound(
            f"{method} {path}: there is nothing at this address; {advice_for(path, addresses)}"
        )
    else:
        detail = error.detail if isinstance(error, HTTPException) else "cannot be served"
        known = ClientError(f"{method} {path}: {detail}.")
    known.status = status
    return await show_problem(request, known)


def advice_for(path: str, addresses: Addresses) -> str:
    """Return advice for a request to an address that does not exist: most often a base address is
    wrong.
    """
    if meant := addresses.meant(path):
        return f"{' or '.join(meant)} is probably meant. Correct the base address of your client."
    return "GET /docs lists what is served."


async def show_invalid(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(
        ".".join(map(str, problem["loc"][1:])) + f": {problem['msg']}" for problem in problems
    )
    return await show_problem(request, ClientError(named or "The request cannot be understood."))
