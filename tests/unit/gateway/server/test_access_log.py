"""Every request leaves one record, gets one id, and never meets a traceback."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.server.access_log import AccessLog
from gateway.server.guard import Guard
from shared.bus.channels import AccessRecord
from shared.runtime.errors import NotFound
from shared.runtime.metrics import Metrics
from shared.settings.security import SecuritySettings
from shared.settings.servers import ServerSettings
from tests.unit.gateway.conftest import Start, idle_ledger
from tests.unit.gateway.proxy.test_relay import Sink

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/health",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 5),
}


async def nobody() -> Any:
    raise AssertionError("the body was not asked for")


def wrap(app: Any) -> AccessLog:
    return AccessLog(
        app, Guard(ServerSettings(), SecuritySettings()), Metrics(), idle_ledger(), None
    )


async def request(app: Any, **changes: Any) -> Sink:
    sink = Sink()
    await wrap(app)({**SCOPE, **changes}, nobody, sink)
    return sink


async def test_an_unforeseen_failure_is_a_500_that_says_nothing_of_the_code() -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    sink = await request(broken)
    assert sink.messages[0]["status"] == 500
    assert b"secret detail" not in sink.body


async def test_a_known_failure_keeps_its_status() -> None:
    async def missing(*_: Any) -> None:
        raise NotFound("nothing here")

    sink = await request(missing)
    assert sink.messages[0]["status"] == 404
    assert b"nothing here" in sink.body


async def test_an_unsound_id_of_the_caller_is_replaced() -> None:
    async def ok(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [*SCOPE["headers"], (b"x-request-id", b"a b\xff")]
    sink = await request(ok, headers=headers)
    shown = dict(sink.messages[0]["headers"])[b"x-request-id"]
    assert shown.startswith(b"req_")


async def test_a_websocket_is_told_to_use_http() -> None:
    async def connect() -> Any:
        return {"type": "websocket.connect"}

    sink = Sink()
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    await wrap(None)(scope, connect, sink)
    assert sink.messages[0]["status"] == 426


async def test_refused_and_unknown_requests_leave_records_too(start_gateway: Start) -> None:
    running = await start_gateway()
    assert (await running.client.post("/api/v1/messages", content=b"x")).status_code == 415
    assert (await running.client.get("/nowhere")).status_code == 404
    refused, unknown = await running.bus.records(2)
    assert (refused.status_code, refused.error_kind, refused.method) == (
        415,
        "unsupported_media",
        "POST",
    )
    assert (unknown.status_code, unknown.error_kind, unknown.endpoint) == (
        404,
        "not_found",
        "unmatched",
    )
    assert refused.request_id != unknown.request_id


class KeptRecords:
    """Stands in for `Records`: keeps the path and status of each record."""

    read_prompts = False

    def __init__(self) -> None:
        self.kept: list[tuple[str, int]] = []

    def begin(self, record: AccessRecord) -> None: ...

    def add(self, record: AccessRecord) -> None:
        self.kept.append((record.path, record.status_code))


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [
        ("/health", 200, False),
        ("/health/live", 200, False),
        ("/health/ready", 200, False),
        ("/metrics", 200, False),
        ("/health/ready", 503, True),
        ("/metrics", 404, True),
        ("/logs/query", 200, True),
        ("/api/v1/messages", 200, True),
    ],
)
async def test_a_probe_leaves_a_record_only_if_it_fails(path: str, status: int, kept: bool) -> None:
    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    records = KeptRecords()
    log = AccessLog(
        answer, Guard(ServerSettings(), SecuritySettings()), Metrics(), idle_ledger(), records
    )
    await log({**SCOPE, "path": path}, nobody, Sink())
    assert records.kept == ([(path, status)] if kept else [])
