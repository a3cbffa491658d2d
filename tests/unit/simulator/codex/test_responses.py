from __future__ import annotations

import gzip

import orjson
import pytest
from backports import zstd

from tests.unit.simulator.codex.conftest import Door, backend_body

JSON = {"content-type": "application/json"}


async def test_the_backends_stream_has_no_content_type(backend: Door, public: Door) -> None:
    assert "content-type" not in (await backend.post(backend_body())).headers
    streamed = await public.post({"model": "gpt-5.5", "input": "hi", "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")


async def test_a_zstd_body_is_read(backend: Door) -> None:
    body = zstd.compress(orjson.dumps(backend_body()))
    reply = await backend.client.post(
        backend.path, content=body, headers=JSON | {"content-encoding": "zstd"}
    )
    assert reply.status_code == 200


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("zstd", 400)])
async def test_any_other_body_is_not(backend: Door, encoding: str, status: int) -> None:
    body = gzip.compress(orjson.dumps(backend_body()))
    reply = await backend.client.post(
        backend.path, content=body, headers=JSON | {"content-encoding": encoding}
    )
    assert reply.status_code == status


@pytest.mark.parametrize(
    ("body", "said"), [(b"[", "Invalid JSON"), (b"[]", "must be a JSON object")]
)
async def test_a_body_is_an_object(backend: Door, body: bytes, said: str) -> None:
    reply = await backend.client.post(backend.path, content=body, headers=JSON)
    assert (reply.status_code, said in reply.text) == (400, True)


async def test_the_public_door_answers_whole_too(public: Door) -> None:
    response = (await public.post({"model": "gpt-5.5", "input": "hi"})).json()
    assert (response["object"], response["status"]) == ("response", "completed")
    assert response["output"][0]["content"][0]["text"] == "You said: hi"
    assert response["usage"]["total_tokens"] > 0


async def test_a_fault_fails_a_whole_answer(public: Door) -> None:
    assert (await public.post({"model": "gpt-sim-failed", "input": "hi"})).status_code == 500


@pytest.mark.parametrize("path", ["/backend-api/codex/chat/completions", "/backend-api/nothing"])
async def test_there_is_nothing_else(backend: Door, path: str) -> None:
    reply = await backend.client.post(path, json=backend_body())
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})
