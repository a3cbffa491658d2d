"""Images, one request for each: failures of one of several, streams that break, and what the record
says.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.gateway.conftest import Connection, Script, Start

ITEM = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"}
ENDED = {
    "type": "response.completed",
    "response": {"model": "gpt-x", "usage": {"input_tokens": 3, "output_tokens": 4}},
}


def sending(*payloads: Any) -> Script:
    async def script(connection: Connection) -> None:
        body = b"".join(b"data: %b\n\n" % orjson.dumps(payload) for payload in payloads)
        head = (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: "
            f"{len(body)}\r\n\r\n"
        )
        await connection.send(head.encode() + body)

    return script


DRAWN = ({"type": "response.output_item.done", "item": ITEM}, ENDED)


async def open_images(start_gateway: Start, provider: Any) -> Any:
    settings = {"api_key": "sk-owner-key-1", "api_base_url": provider.url, "image_caller": "gpt-x"}
    return await start_gateway(codex=settings)


async def test_the_record_tells_the_route_the_model_and_the_sum_of_all_images(
    start_gateway: Start, provider: Any
) -> None:
    running = await open_images(start_gateway, provider)
    provider.scripts += [sending(*DRAWN), sending(*DRAWN)]
    body = {"prompt": "A cat", "model": "gpt-image-2", "n": 2}
    reply = await running.client.post("/codex/v1/images/generations", json=body)
    assert [image["b64_json"] for image in reply.json()["data"]] == ["AAAA", "AAAA"]
    record = (await running.bus.records(1))[0]
    assert (record.endpoint, record.client_format) == (
        "/codex/v1/images/generations",
        "openai_images",
    )
    assert (record.asked_model, record.model) == ("gpt-image-2", "gpt-x")
    assert (record.tokens_input, record.tokens_output) == (6, 8)


async def test_one_image_that_fails_fails_all_and_is_not_asked_for_again(
    start_gateway: Start, provider: Any
) -> None:
    running = await open_images(start_gateway, provider)
    provider.scripts += [sending(*DRAWN), sending(ENDED)]
    reply = await running.client.post("/codex/images/generations", json={"prompt": "A cat", "n": 2})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "image_not_made")
    assert reply.headers["x-should-retry"] == "false"
    assert len(running.gateway.active_requests) == 0


@pytest.mark.parametrize("payloads", [[DRAWN[0]], []])
async def test_a_stream_that_breaks_off_ends_with_an_error_event(
    start_gateway: Start, provider: Any, payloads: list[Any]
) -> None:
    running = await open_images(start_gateway, provider)
    provider.scripts += [sending(*payloads), sending(*payloads)]
    streamed = await running.client.post(
        "/codex/images/generations", json={"prompt": "A cat", "stream": True}
    )
    assert b"completed" not in streamed.content
    assert b'"error":{' in streamed.content
    whole = await running.client.post("/codex/images/generations", json={"prompt": "A cat"})
    assert whole.status_code == 502


async def test_a_form_for_an_edit_comes_from_a_program(start_gateway: Start, provider: Any) -> None:
    running = await open_images(start_gateway, provider)
    provider.scripts.append(sending(*DRAWN))
    form: Any = {
        "data": {"prompt": "A hat"},
        "files": {"image": ("a.png", b"\x89PNG", "image/png")},
    }
    assert (await running.client.post("/codex/v1/images/edits", **form)).status_code == 415
    headers = {"authorization": "Bearer anything"}
    assert (
        await running.client.post("/codex/v1/images/edits", headers=headers, **form)
    ).status_code == 200
    refused = await running.client.post(
        "/codex/v1/images/edits", headers=headers, files={"image": ("a", b"x")}
    )
    assert refused.json()["error"]["param"] == "prompt"
