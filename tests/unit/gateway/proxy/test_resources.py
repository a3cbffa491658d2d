"""What the account keeps at Anthropic, passed through: addresses, bodies of any size, results, and
who may change.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.gateway.conftest import Connection, Start

FORM = {"content-type": "multipart/form-data; boundary=x", "anthropic-version": "2023-06-01"}
MEBIBYTE = 1024 * 1024
ORIGIN = "https://api.anthropic.com/v1/messages/batches"


def answering(body: bytes, status: str = "200 OK") -> Any:
    return lambda connection: connection.answer(body, status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages/batches?limit=2&after_id=msgbatch_1"),
        ("POST", "/v1/messages/batches"),
        ("DELETE", "/v1/messages/batches/msgbatch_1"),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel"),
        ("GET", "/v1/files/file_1/content"),
        ("DELETE", "/v1/files/file_1"),
        ("GET", "/v1/skills/skill_1/versions/latest"),
        ("POST", "/v1/skills/skill_1/versions"),
        ("HEAD", "/v1/files/file_1"),
    ],
)
async def test_each_address_goes_to_its_own_at_the_provider(
    start_gateway: Start, method: str, path: str
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(answering(b'{"id":"x"}'))
    headers = FORM | {"anthropic-beta": "files-api-2025-04-14", "x-api-key": "of-the-client"}
    reply = await running.client.request(method, f"/api{path}", headers=headers)
    assert (reply.status_code, reply.content) == (200, b"" if method == "HEAD" else b'{"id":"x"}')
    [seen] = running.provider.received
    assert seen.head.startswith(f"{'GET' if method == 'HEAD' else method} {path} ".encode())
    assert (seen.headers["anthropic-beta"], seen.headers["x-api-key"]) == (
        "files-api-2025-04-14",
        "sk-owner",
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/files/..%2f..%2forganizations", 404),
        ("GET", "/api/v1/files/a.b", 404),
        ("GET", f"/api/v1/files/{'x' * 129}", 404),
        ("GET", "/api/v1/files/file_1/contents", 404),
        ("PUT", "/api/v1/files/file_1", 405),
        ("GET", "/api/v1/messages/batches/msgbatch_1/cancel", 405),
        ("DELETE", "/api/v1/files", 405),
        ("GET", "/api/v1/organizations/api_keys", 404),
    ],
)
async def test_nothing_but_named_addresses_with_ids_reaches_the_provider(
    start_gateway: Start, method: str, path: str, status: int
) -> None:
    running = await start_gateway()
    reply = await running.client.request(method, path, headers=FORM)
    assert (reply.status_code, reply.json()["type"]) == (status, "error")
    assert ("allow" in reply.headers) == (status == 405)
    assert running.provider.received == []


async def test_a_refusal_keeps_its_status_and_words(start_gateway: Start) -> None:
    running = await start_gateway()
    refusal = (
        b'{"type":"error","error":{"type":"not_found_error","message":"File not found: file_1"}}'
    )
    running.provider.scripts.append(answering(refusal, "404 Not Found"))
    reply = await running.client.get("/api/v1/files/file_1")
    assert (reply.status_code, reply.content) == (404, refusal)


@pytest.mark.parametrize("length", [MEBIBYTE, 3 * MEBIBYTE])
async def test_a_body_of_any_size_arrives_as_it_was(start_gateway: Start, length: int) -> None:
    running = await start_gateway(server={"max_bodies_bytes": 2 * MEBIBYTE})
    running.provider.scripts.append(answering(b"{}"))
    body = bytes(range(256)) * (length // 256)
    reply = await running.client.post("/api/v1/files", content=body, headers=FORM)
    assert reply.status_code == 200
    assert running.provider.received[0].body == body
    record = (await running.bus.records(1))[0]
    assert (record.endpoint, record.status_code, record.bytes_in) == ("/api/v1/files", 200, length)
    assert (record.provider, record.client_format) == ("claude", "anthropic")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_limit_is_refused(start_gateway: Start, announced: bool) -> None:
    running = await start_gateway(server={"max_upload_bytes": 2 * MEBIBYTE})

    async def pieces() -> Any:
        for _ in range(3):
            yield b"x" * MEBIBYTE

    content = b"x" * 3 * MEBIBYTE if announced else pieces()
    running.provider.scripts.append(lambda connection: connection.closed.wait())
    reply = await running.client.post("/api/v1/files", content=content, headers=FORM)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")


async def test_a_client_that_leaves_amid_its_upload_ends_the_request_at_the_provider(
    start_gateway: Start,
) -> None:
    running = await start_gateway()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = f"POST /api/v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: {2 * MEBIBYTE}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in FORM.items())
    writer.write(head.encode() + b"\r\n" + b"x" * MEBIBYTE)
    await writer.drain()
    writer.close()
    record = (await running.bus.records(1))[0]
    assert (record.status_code, record.error_kind) == (499, "cancelled")
    assert len(running.gateway.active_requests) == 0
    del reader


async def test_a_refused_large_upload_is_not_sent_twice(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts.append(answering(b'{"type":"error"}', "401 Unauthorized"))
    reply = await running.client.post("/api/v1/files", content=b"x" * 2 * MEBIBYTE, headers=FORM)
    assert reply.status_code == 401
    assert len(running.provider.received) == 1


async def test_a_download_of_any_length_passes_and_one_that_is_cut_is_not_shown_as_whole(
    start_gateway: Start,
) -> None:
    running = await start_gateway()

    async def cut(connection: Connection) -> None:
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ncontent-length: "
            b"10\r\n\r\n{}\n"
        )
        connection.writer.close()

    running.provider.scripts.append(cut)
    with pytest.raises(httpx.RemoteProtocolError):
        await running.client.get("/api/v1/messages/batches/msgbatch_1/results")
    record = (await running.bus.records(1))[0]
    assert (record.status_code, record.error_kind) == (200, "upstream")


async def test_the_address_of_a_batchs_results_becomes_ours(start_gateway: Start) -> None:
    running = await start_gateway()
    batch = (
        b'{"id":"msgbatch_1","results_url":"%s/msgbatch_1/results","big":12345678901234567890123}'
        % ORIGIN.encode()
    )
    running.provider.scripts += [
        answering(batch),
        answering(b'{"data":[%s]}' % batch),
        answering(b'{"odd":1.50}'),
    ]
    origin = f"http://127.0.0.1:{running.port}/api/v1/messages/batches/msgbatch_1/results"
    one = await running.client.get("/api/v1/messages/batches/msgbatch_1")
    assert (one.json()["results_url"], one.json()["big"]) == (origin, 12345678901234567890123)
    headers = {"host": "localhost:1", "x-forwarded-proto": "https"}
    several = await running.client.get("/api/v1/messages/batches", headers=headers)
    assert several.json()["data"][0]["results_url"] == origin.replace(
        f"http://127.0.0.1:{running.port}", "https://localhost:1"
    )
    assert (
        await running.client.get("/api/v1/messages/batches/msgbatch_2")
    ).content == b'{"odd":1.50}'


@pytest.mark.parametrize(
    "header", [{}, {"authorization": "Basic eDp5"}, {"anthropic-version": "2023-06-01"}]
)
async def test_a_form_is_taken_only_with_a_header_that_no_web_page_sends(
    start_gateway: Start, header: dict[str, str]
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(answering(b"{}"))
    headers = {"content-type": FORM["content-type"]} | header
    reply = await running.client.post("/api/v1/files", content=b"--x--", headers=headers)
    assert reply.status_code == (200 if "anthropic-version" in header else 415)
    assert (
        await running.client.post("/api/v1/messages", content=b"--x--", headers=FORM)
    ).status_code == 415


async def test_what_others_rely_on_is_taken_away_by_the_admin_only(start_gateway: Start) -> None:
    tokens = [
        {"name": scope, "token": f"token-to-{scope}", "scopes": [scope]}
        for scope in ("use", "admin")
    ]
    running = await start_gateway(security={"tokens": tokens})
    changes = [
        ("DELETE", "/api/v1/files/file_1"),
        ("DELETE", "/api/v1/messages/batches/msgbatch_1"),
        ("DELETE", "/api/v1/skills/skill_1/versions/v1"),
        ("POST", "/api/v1/skills/skill_1/versions"),
    ]
    uses = [
        ("POST", "/api/v1/messages/batches/msgbatch_1/cancel"),
        ("POST", "/api/v1/skills"),
        ("GET", "/api/v1/files"),
    ]
    for needed, operations in (("admin", changes), ("use", uses)):
        for method, path in operations:
            running.provider.scripts.append(answering(b"{}"))
            for scope in ("use", "admin"):
                headers = {"x-api-key": f"token-to-{scope}"}
                reply = await running.client.request(method, path, headers=headers)
                assert reply.status_code == (200 if scope == needed else 403), (method, path, scope)


async def test_a_used_up_subscription_stops_new_batches_and_nothing_else(
    start_gateway: Start, tmp_path: Path
) -> None:
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"claudeAiOauth": {"accessToken": "token"}}))
    account = {"api_key": None, "credentials_file": str(login)}
    running = await start_gateway(claude=account, quota={"stop_at_percent": 50})
    limits = {
        "status": "allowed",
        "5h-status": "allowed",
        "5h-utilization": "0.9",
        "5h-reset": str(int(time.time()) + 900),
    }
    told = "".join(
        f"anthropic-ratelimit-unified-{name}: {value}\r\n" for name, value in limits.items()
    )
    running.provider.scripts += [
        lambda connection: connection.answer(b"{}", headers=told.encode())
    ] * 2
    assert (await running.client.get("/api/v1/files")).status_code == 200
    assert (
        await running.post("/api/v1/messages/batches", json={"requests": []})
    ).status_code == 429
    assert (await running.client.get("/api/v1/messages/batches")).status_code == 200


async def test_a_batch_that_flows_longer_than_the_idle_limit_is_not_idle(
    start_gateway: Start,
) -> None:
    running = await start_gateway(server={"idle_timeout_seconds": 0.3})
    batch = json.dumps({"id": "msgbatch_1", "results_url": f"{ORIGIN}/msgbatch_1/results"}).encode()

    async def script(connection: Connection) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        await connection.send(head % len(batch))
        for start in range(0, len(batch), 20):
            await asyncio.sleep(0.12)
            await connection.send(batch[start : start + 20])

    running.provider.scripts.append(script)
    reply = await running.client.get("/api/v1/messages/batches/msgbatch_1", headers=FORM)
    assert reply.status_code == 200, reply.text
    assert reply.json()["results_url"].endswith("/api/v1/messages/batches/msgbatch_1/results")
