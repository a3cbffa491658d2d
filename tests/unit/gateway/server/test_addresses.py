"""One spelling of each address, and answers that help a request which misses one."""

from __future__ import annotations

import pytest

from gateway.server.addresses import Addresses, fold_slashes
from tests.unit.gateway.conftest import END, START, Connection, Start

SERVED = {
    "/api/v1/messages": {"POST"},
    "/api/v1/chat/completions": {"POST"},
    "/codex/v1/chat/completions": {"POST"},
    "/codex/responses": {"POST"},
    "/codex/responses/{response_id}": {"GET", "DELETE"},
    "/logs/status": {"GET"},
}


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("/api/v1/messages", "/api/v1/messages"),
        ("//api///v1/messages//", "/api/v1/messages"),
        ("/api/v1/messages/", "/api/v1/messages"),
        ("/", "/"),
        ("//", "/"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_slashes_are_folded(path: str, folded: str) -> None:
    assert fold_slashes(path) == folded


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v1/messages", {"POST", "OPTIONS"}),
        ("/logs/status", {"GET", "HEAD", "OPTIONS"}),
        ("/codex/responses/resp_1", {"GET", "DELETE", "HEAD", "OPTIONS"}),
        ("/codex/responses/resp_1/x", set()),
        ("/nowhere", set()),
    ],
)
def test_an_address_tells_its_methods(path: str, methods: set[str]) -> None:
    assert Addresses(SERVED).methods(path) == methods


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/v1/v1/messages", ["/api/v1/messages"]),
        ("/v1/messages", ["/api/v1/messages"]),
        ("/messages", ["/api/v1/messages"]),
        ("/anthropic/v1/messages", ["/api/v1/messages"]),
        ("/codex/v1/v1/chat/completions", ["/codex/v1/chat/completions"]),
        ("/v1/chat/completions", ["/api/v1/chat/completions", "/codex/v1/chat/completions"]),
        ("/logs/statsu", ["/logs/status"]),
        ("/favicon.ico", []),
        ("/v1", []),
    ],
)
def test_a_near_miss_names_the_address_meant(path: str, meant: list[str]) -> None:
    assert Addresses(SERVED).meant(path) == meant


async def answer_at_length(connection: Connection) -> None:
    await connection.start_stream()
    await connection.send_chunk(START + END)
    await connection.send(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/api//v1/messages", "/api/v1/messages/", "//api/v1//messages//"])
async def test_a_slash_too_many_is_answered(start_gateway: Start, path: str) -> None:
    running = await start_gateway()
    running.provider.scripts = [answer_at_length]
    reply = await running.client.post(
        f"http://127.0.0.1:{running.port}{path}", json={"model": "claude-x"}
    )
    assert reply.status_code == 200
    [record] = await running.bus.records(1)
    assert (record.path, record.endpoint) == ("/api/v1/messages", "/api/v1/messages")


@pytest.mark.parametrize(
    "path", ["//logs/status", "/logs//status", "/%2Flogs/status", "/logs/status/"]
)
async def test_a_slash_too_many_goes_around_no_scope(start_gateway: Start, path: str) -> None:
    token = {"name": "ci", "token": "a-token-of-ci", "scopes": ["use"]}
    running = await start_gateway(security={"auth_token": "the-owners-token", "tokens": [token]})
    url = f"http://127.0.0.1:{running.port}{path}"
    reply = await running.client.get(url, headers={"x-api-key": "a-token-of-ci"})
    assert reply.status_code == 403


@pytest.mark.parametrize(
    ("path", "meant", "kind"),
    [
        ("/api/v1/v1/messages", "/api/v1/messages is", "not_found_error"),
        ("/v1/messages", "/api/v1/messages", "not_found_error"),
        ("/api/messages", "/api/v1/messages is", "not_found_error"),
        ("/codex/v1/v1/responses", "/codex/v1/responses is", "invalid_request_error"),
        ("/v1/chat/completions", "/api/v1/chat/completions or", "invalid_request_error"),
    ],
)
async def test_a_miss_is_told_in_the_dialect_of_its_path(
    start_gateway: Start, path: str, meant: str, kind: str
) -> None:
    running = await start_gateway()
    reply = await running.post(path)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (404, kind)
    assert meant in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "taken"),
    [
        ("GET", "/api/v1/messages", "OPTIONS, POST"),
        ("PUT", "/codex/a-talk/responses", "OPTIONS, POST"),
        ("DELETE", "/logs/status", "GET, HEAD, OPTIONS"),
        ("PUT", "/codex/responses/resp_1", "DELETE, GET, HEAD, OPTIONS"),
        ("HEAD", "/api/v1/messages", "OPTIONS, POST"),
        ("DELETE", "/dashboard", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    start_gateway: Start, method: str, path: str, taken: str
) -> None:
    running = await start_gateway()
    reply = await running.client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, taken)
    assert method == "HEAD" or taken in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/docs", "/openapi.json", "/logs/stream", "/dashboard"]
)
async def test_head_is_get_without_its_body(start_gateway: Start, path: str) -> None:
    running = await start_gateway()
    reply = await running.client.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
    [record] = (
        [one for one in await running.bus.records(1) if one.path == path]
        if path == "/docs"
        else [None]
    )
    assert record is None or (record.method, record.endpoint) == ("HEAD", "/docs")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/docs/docs.js", "GET, HEAD, OPTIONS"),
        ("/dashboard", "GET, HEAD, OPTIONS"),
        ("/signin", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_options_name_the_methods_of_a_page(
    start_gateway: Start, path: str, methods: str
) -> None:
    running = await start_gateway()
    reply = await running.client.options(path)
    assert (reply.status_code, reply.headers["allow"], reply.content) == (204, methods, b"")


async def test_options_name_the_methods(start_gateway: Start) -> None:
    running = await start_gateway()
    reply = await running.client.options("/api/v1/messages")
    assert (reply.status_code, reply.headers["allow"], reply.content) == (204, "OPTIONS, POST", b"")
    assert (await running.client.options("/nowhere")).status_code == 404
    assert not [name for name in reply.headers if name.startswith("access-control")]
