from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.codex import write_login
from tests.unit.gateway.conftest import Connection, Running, Start

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "hi"}],
}
LIMITS = {"type": "codex.rate_limits"}
CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "response", "model": "gpt-x"},
}
DONE = {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}
COMPLETED = {
    "type": "response.completed",
    "response": {"id": "resp_1", "output": [], "usage": {"output_tokens": 7}},
}
FAILED = {
    "type": "response.failed",
    "response": {"error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
}
HEAD = (
    b"HTTP/1.1 200 OK\r\nx-codex-plan-type: plus\r\nset-cookie: secret=1\r\ntransfer-encoding: "
    b"chunked\r\n\r\n"
)
BODY = {"model": "gpt-x", "input": "hello"}


def frame(payload: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), orjson.dumps(payload))


def scripted(home: Path) -> dict[str, Any]:
    """Models are not asked for, so that every request at the provider is the client's."""
    login = {"auth_file": write_login(home / "auth.json"), "cli_path": home / "no-codex-here"}
    return {**login, "enable_dynamic_model_info": False}


@pytest.fixture
async def running(start_gateway: Start, tmp_path: Path) -> Running:
    return await start_gateway(codex=scripted(tmp_path))


def streaming(*payloads: dict[str, Any], cut: bool = False) -> Any:
    async def script(connection: Connection) -> None:
        await connection.send(HEAD)
        for payload in payloads:
            await connection.send_chunk(frame(payload))
        if cut:
            connection.writer.close()
        else:
            await connection.send(b"0\r\n\r\n")

    return script


async def test_a_whole_reply_is_put_together_from_the_stream(running: Running) -> None:
    running.provider.scripts.append(streaming(LIMITS, CREATED, DONE, COMPLETED))
    reply = await running.post("/codex/responses", json=BODY)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-codex-plan-type"] == "plus"
    assert "set-cookie" not in reply.headers
    whole = orjson.loads(reply.content)
    assert (whole["object"], whole["status"], whole["output"]) == (
        "response",
        "completed",
        [MESSAGE],
    )
    [record] = await running.bus.records(1)
    assert (record.tokens_output, record.provider, record.streaming, record.model) == (
        7,
        "codex",
        False,
        "gpt-x",
    )


async def test_a_stream_passes_and_its_last_event_is_made_whole(running: Running) -> None:
    running.provider.scripts.append(streaming(LIMITS, CREATED, DONE, COMPLETED))
    reply = await running.post("/codex/responses", json=BODY | {"stream": True})
    assert frame(DONE) in reply.content
    first = orjson.loads(reply.content.partition(b"data: ")[2].partition(b"\n")[0])
    assert first["response"].items() >= CREATED["response"].items()
    assert reply.headers["content-type"].startswith("text/event-stream")
    last = orjson.loads(reply.content.rstrip().rpartition(b"data: ")[2])
    assert last["response"]["output"] == [MESSAGE]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_under_an_alias_keeps_the_name_the_client_asked_for(
    start_gateway: Start, tmp_path: Path, streamed: bool
) -> None:
    running = await start_gateway(codex=scripted(tmp_path), models={"aliases": {"fast": "gpt-x"}})
    running.provider.scripts.append(streaming(CREATED, DONE, COMPLETED))
    reply = await running.post(
        "/codex/responses", json=BODY | {"model": "fast", "stream": streamed}
    )
    assert reply.content.count(b'"model":"fast"') == (2 if streamed else 1)
    assert b"gpt-x" not in reply.content
    [record] = await running.bus.records(1)
    assert record.model == "gpt-x"


async def test_a_whole_reply_that_failed_has_the_failures_status(running: Running) -> None:
    running.provider.scripts.append(streaming(CREATED, FAILED))
    reply = await running.post("/codex/responses", json=BODY)
    assert (reply.status_code, orjson.loads(reply.content)["error"]["message"]) == (
        429,
        "Slow down.",
    )


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_breaks_off_is_never_a_whole_reply(running: Running, cut: bool) -> None:
    running.provider.scripts.append(streaming(CREATED, DONE, cut=cut))
    reply = await running.post("/codex/responses", json=BODY)
    assert reply.status_code == 502


async def test_a_stream_that_breaks_off_ends_in_an_error(running: Running) -> None:
    running.provider.scripts.append(streaming(CREATED, DONE, cut=True))
    reply = await running.post("/codex/responses", json=BODY | {"stream": True})
    assert orjson.loads(reply.content.rstrip().rpartition(b"data: ")[2])["type"] == "error"


async def test_a_model_by_the_owners_name_for_it(start_gateway: Start, tmp_path: Path) -> None:
    scripted = {
        "auth_file": write_login(tmp_path / "auth.json"),
        "cli_path": tmp_path / "no-codex-here",
    }
    aliases = {"aliases": {"fast": "gpt-x"}}
    running = await start_gateway(
        codex={**scripted, "enable_dynamic_model_info": False}, models=aliases
    )
    running.provider.scripts.append(streaming(CREATED, DONE, COMPLETED))
    await running.post("/codex/responses", json=BODY | {"model": "fast"})
    assert orjson.loads(running.provider.received[0].body)["model"] == "gpt-x"


async def test_what_was_left_out_is_said(running: Running) -> None:
    running.provider.scripts.append(streaming(CREATED, DONE, COMPLETED))
    reply = await running.post(
        "/codex/my-session/responses", json=BODY | {"top_p": 0.5, "stream": True}
    )
    assert reply.headers["x-ccproxy-ignored"] == "top_p"
    [record] = await running.bus.records(1)
    assert (record.session_id, record.endpoint) == ("my-session", "/codex/{session_id}/responses")
