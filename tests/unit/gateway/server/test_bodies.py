"""One reading of bodies and of JSON for every route: limits, silence, and a sentence for what
cannot be read.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from gateway.server.bodies import MAX_DEPTH, read_json
from shared.runtime.errors import ClientError
from tests.unit.gateway.conftest import Connection, Start

JSON = {"content-type": "application/json"}


def nested(levels: int, inner: str = "0") -> bytes:
    return b"[" * levels + inner.encode() + b"]" * levels


@pytest.mark.parametrize(
    "body", [b"{", b"[1e999999]", b"NaN", b"\xff", b'"\\ud800"', b"1 2", nested(2000)]
)
def test_anything_but_json_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(ClientError, match="not valid JSON"):
        read_json(body)


@pytest.mark.parametrize(
    "body", [nested(MAX_DEPTH), b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH]
)
def test_the_deepest_document_is_read(body: bytes) -> None:
    assert read_json(body) == orjson.loads(body)


@pytest.mark.parametrize(
    "body", [nested(MAX_DEPTH + 1, "[0]"), nested(900), b'{"a":[' * 400 + b"1" + b"]}" * 400]
)
def test_a_deeper_document_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError, match=f"more than {MAX_DEPTH} levels"):
        read_json(body)


MANAGEMENT = [
    "/permissions/rules/explain",
    "/permissions/x/respond",
    "/permissions/rules",
    "/mcp/permission/check",
]
UNREADABLE: dict[str, bytes] = {
    "not JSON": b"{",
    "deep": b'{"tool_name": "Bash", "input": {"a": ' + nested(900) + b"}}",
    "a number": b'{"tool_name": "Bash", "input": {"a": 1e999999}}',
    "bytes": b'"\xff"',
}


@pytest.mark.parametrize("path", [*MANAGEMENT, "/logs/reset"])
@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_body_is_the_caller_s_fault_on_every_route(
    start_gateway: Start, path: str, name: str
) -> None:
    running = await start_gateway()
    reply = await running.client.post(path, content=UNREADABLE[name], headers=JSON)
    assert reply.status_code == 400
    assert "JSON" in reply.text or "levels deep" in reply.text


@pytest.mark.parametrize("name", UNREADABLE)
async def test_mcp_refuses_in_its_own_dialect(start_gateway: Start, name: str) -> None:
    running = await start_gateway()
    reply = await running.client.post("/mcp", content=UNREADABLE[name], headers=JSON)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == -32700


@pytest.mark.parametrize("path", [*MANAGEMENT, "/mcp", "/api/v1/messages"])
async def test_a_large_body_is_refused_before_it_is_read(start_gateway: Start, path: str) -> None:
    running = await start_gateway(server={"max_body_bytes": 2000})
    reply = await running.client.post(path, content=b'{"a": "' + b"x" * 3000 + b'"}', headers=JSON)
    assert reply.status_code == 413


async def test_the_sdk_has_a_smaller_limit(start_gateway: Start) -> None:
    running = await start_gateway(sdk={"max_body_bytes": 2000})
    body = orjson.dumps({"model": "m", "messages": ["x" * 3000]})
    assert (
        await running.client.post("/sdk/v1/messages", content=body, headers=JSON)
    ).status_code == 413
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    assert (
        await running.client.post("/api/v1/messages", content=body, headers=JSON)
    ).status_code == 200


async def test_a_packed_body_is_unpacked_for_every_route(start_gateway: Start) -> None:
    running = await start_gateway()
    packed = gzip.compress(b'{"allowed": "odd"}')
    headers = JSON | {"content-encoding": "gzip"}
    reply = await running.client.post("/permissions/x/respond", content=packed, headers=headers)
    assert reply.status_code == 400
    assert "allowed" in reply.text


@pytest.mark.parametrize(
    "path", ["/permissions/x/respond", "/mcp", "/logs/reset", "/api/v1/messages"]
)
async def test_silence_within_a_body_ends_on_every_route(start_gateway: Start, path: str) -> None:
    running = await start_gateway(
        server={"body_timeout_seconds": 0.2, "ping_interval_seconds": 0.2}
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: "
        "application/json\r\ncontent-length: 99\r\n\r\n"
    )
    writer.write(head.encode() + b"{")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_all_bodies_together_have_a_limit(start_gateway: Start) -> None:
    running = await start_gateway(server={"max_bodies_bytes": 1024 * 1024})
    received, answer = asyncio.Event(), asyncio.Event()

    async def wait(connection: Connection) -> None:
        received.set()
        await answer.wait()
        await connection.answer(b"{}")

    body: dict[str, Any] = {"model": "claude-x", "messages": ["x" * 700_000]}
    running.provider.scripts.append(wait)
    first = asyncio.create_task(running.post(json=body))
    await received.wait()
    refused = await running.post(json=body)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    answer.set()
    assert (await first).status_code == 200
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    assert (await running.post(json=body)).status_code == 200
    assert running.gateway.active_requests.held == 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/api/chat/completions"])
async def test_a_wrong_base_address_is_put_right(start_gateway: Start, path: str) -> None:
    running = await start_gateway()
    reply = await running.client.post(path, json={})
    assert reply.status_code == 404
    assert "probably meant" in reply.text
