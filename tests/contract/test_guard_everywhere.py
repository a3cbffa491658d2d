"""Every address and method this server has, tried by those who may not use it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.server.guard import EVERYTHING, OPEN_PATHS, scope_of
from tests.contract.conftest import OpenGateway

TOKENS = {scope: f"token-to-{scope}" for scope in sorted(EVERYTHING)}
SECURITY: dict[str, Any] = {
    "tokens": [
        {"name": scope, "token": secret, "scopes": [scope]} for scope, secret in TOKENS.items()
    ]
}

WRONG: list[dict[str, str]] = [
    {},
    {"x-api-key": "wrong"},
    {"authorization": "Bearer wrong"},
    {"authorization": "Basic !"},
]


@pytest.fixture
async def guarded(open_gateway_at: OpenGateway) -> str:
    return await open_gateway_at(security=SECURITY)


async def operations(url: str) -> list[tuple[str, str]]:
    """Every (method, path) in the served document, path parameters filled in."""
    async with httpx.AsyncClient(base_url=url, headers={"x-api-key": TOKENS["admin"]}) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    found = [
        (
            method.upper(),
            "/".join("x" if part.startswith("{") else part for part in path.split("/")),
        )
        for path, methods in paths.items()
        for method in methods
    ]
    assert len(found) > 20
    return [(method, path) for method, path in found if path not in OPEN_PATHS]


async def attempt(
    client: httpx.AsyncClient, method: str, path: str, **headers: str
) -> httpx.Response:
    """The status decides; a stream that should never have begun is not waited for."""
    content = b"{}" if method in {"POST", "PUT", "PATCH", "DELETE"} else None
    headers.setdefault("content-type", "application/json")
    async with client.stream(method, path, content=content, headers=headers) as response:
        return response


async def test_no_token_and_a_wrong_one_are_refused_everywhere(guarded: str) -> None:
    async with httpx.AsyncClient(base_url=guarded) as client:
        for method, path in await operations(guarded):
            for headers in (
                {},
                {"x-api-key": "wrong"},
                {"authorization": "Bearer wrong"},
                {"authorization": "Basic !"},
            ):
                response = await attempt(client, method, path, **headers)
                assert response.status_code == 401, f"{method} {path} with {headers}"


async def test_a_token_of_too_small_a_scope_is_refused_everywhere(guarded: str) -> None:
    async with httpx.AsyncClient(base_url=guarded) as client:
        for method, path in await operations(guarded):
            for scope, secret in TOKENS.items():
                if scope != scope_of(method, path):
                    response = await attempt(client, method, path, **{"x-api-key": secret})
                    assert response.status_code == 403, f"{method} {path} with the scope {scope}"


HOSTILE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"host": "rebound.example"},
]


@pytest.mark.parametrize("headers", HOSTILE, ids=str)
async def test_a_page_of_another_origin_gets_nothing_done_anywhere(
    open_gateway_at: OpenGateway, headers: dict[str, str]
) -> None:
    """Without any token, as most owners run it."""
    url = await open_gateway_at()
    async with httpx.AsyncClient(base_url=url) as client:
        for method, path in await operations(url):
            response = await attempt(client, method, path, **headers)
            assert response.status_code == 403, f"{method} {path}"


async def test_a_plain_form_gets_nothing_done_anywhere(open_gateway_at: OpenGateway) -> None:
    url = await open_gateway_at()
    async with httpx.AsyncClient(base_url=url) as client:
        for method, path in await operations(url):
            if method not in {"GET", "HEAD"}:
                for kind in (
                    "text/plain",
                    "application/x-www-form-urlencoded",
                    "multipart/form-data; boundary=x",
                ):
                    response = await attempt(client, method, path, **{"content-type": kind})
                    assert response.status_code == 415, f"{method} {path} as {kind}"
