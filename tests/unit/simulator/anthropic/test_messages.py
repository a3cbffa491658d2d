"""The endpoints around the reply: bodies, limits, counting, models, the front's headers."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import httpx
import orjson
import pytest

from simulator.anthropic.messages import MAX_BODY_BYTES
from tests.support.simulator_fixture import OAUTH_HEADERS

HELLO: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a": NaN}'])
async def test_what_is_not_json_is_refused(client: httpx.AsyncClient, raw: bytes) -> None:
    reply = await client.post("/v1/messages", content=raw)
    assert reply.status_code == 400
    assert "not valid JSON" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_compressed_bodies_are_taken(
    client: httpx.AsyncClient, encoding: str, pack: Any
) -> None:
    raw = pack(orjson.dumps(HELLO))
    assert (
        await client.post("/v1/messages", content=raw, headers={"content-encoding": encoding})
    ).status_code == 200


@pytest.mark.parametrize(
    ("encoding", "raw", "status", "code"),
    [
        ("zstd", b"", 400, "request_body_encoding_unsupported"),
        ("gzip", b"plain", 400, "request_body_encoding_invalid"),
        ("gzip", gzip.compress(orjson.dumps(HELLO))[:-20], 400, "request_body_encoding_invalid"),
        (
            "gzip",
            gzip.compress(bytes(MAX_BODY_BYTES + 1), 1),
            413,
            "request_body_too_large_after_decoding",
        ),
    ],
    ids=["unknown", "not packed", "cut short", "a bomb"],
)
async def test_bodies_that_cannot_be_unpacked_are_refused(
    client: httpx.AsyncClient, encoding: str, raw: bytes, status: int, code: str
) -> None:
    reply = await client.post("/v1/messages", content=raw, headers={"content-encoding": encoding})
    assert (reply.status_code, reply.json()["error"]["details"]["error_code"]) == (status, code)


async def test_a_body_over_32_megabytes_is_a_413(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/messages", content=bytes(MAX_BODY_BYTES + 1))
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")


async def test_a_prompt_over_the_context_is_refused(client: httpx.AsyncClient) -> None:
    body = HELLO | {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": "x" * 900_000}],
    }
    reply = await client.post("/v1/messages", json=body)
    assert "prompt is too long: 225" in reply.json()["error"]["message"]


async def test_a_reply_carries_the_marks_of_the_front(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/messages", json=HELLO)
    assert reply.headers["request-id"].startswith("req_")
    assert {"set-cookie", "anthropic-organization-id", "anthropic-ratelimit-tokens-limit"} <= set(
        reply.headers
    )
    client.headers.pop("x-api-key")
    oauth = await client.post("/v1/messages", json=HELLO, headers=OAUTH_HEADERS)
    assert oauth.headers["anthropic-ratelimit-unified-status"] == "allowed"


async def test_a_dated_model_answers_for_its_alias(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/messages", json=HELLO | {"model": "claude-haiku-4-5"})
    assert reply.json()["model"] == "claude-haiku-4-5-20251001"


async def test_long_whole_replies_are_compressed_for_those_who_can(
    client: httpx.AsyncClient,
) -> None:
    long = HELLO | {"model": "claude-sim-long-500", "max_tokens": 5000}
    assert "content-encoding" not in (await client.post("/v1/messages", json=HELLO)).headers
    packed = await client.post("/v1/messages", json=long)
    plain = await client.post("/v1/messages", json=long, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json()["content"] == plain.json()["content"]


async def test_counting_agrees_with_what_a_reply_costs(client: httpx.AsyncClient) -> None:
    body = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    counted = await client.post("/v1/messages/count_tokens", json=body)
    usage = (await client.post("/v1/messages", json=HELLO)).json()["usage"]
    assert counted.json() == {"input_tokens": usage["input_tokens"]}


async def test_context_management_is_acknowledged(client: httpx.AsyncClient) -> None:
    beta = {"anthropic-beta": "context-management-2025-06-27"}
    reply = await client.post(
        "/v1/messages", json=HELLO | {"context_management": {"edits": []}}, headers=beta
    )
    assert reply.json()["context_management"] == {"applied_edits": []}


async def test_models_are_listed_in_pages_and_described(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/models", params={"limit": 2})).json()
    rest = (
        await client.get("/v1/models", params={"limit": 1000, "after_id": page["last_id"]})
    ).json()
    assert page["has_more"]
    assert not rest["has_more"]
    model = page["data"][0]
    assert (await client.get(f"/v1/models/{model['id']}")).json() == model
    assert (await client.get("/v1/models/claude-nobody")).status_code == 404


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
async def test_a_page_has_a_size(client: httpx.AsyncClient, limit: str) -> None:
    assert (await client.get("/v1/models", params={"limit": limit})).status_code == 400


async def test_the_account_page_belongs_to_an_oauth_token(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/oauth/profile")).status_code == 403
    client.headers.pop("x-api-key")
    profile = await client.get(
        "/api/oauth/profile", headers={"authorization": OAUTH_HEADERS["authorization"]}
    )
    assert profile.json()["account"]["has_claude_max"] is True


@pytest.mark.parametrize("path", ["/", "/api/hello"])
async def test_greetings_need_no_credential(client: httpx.AsyncClient, path: str) -> None:
    client.headers.pop("x-api-key")
    assert (await client.head(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/messages", 405), ("POST", "/v1/nothing", 404)]
)
async def test_other_addresses_are_refused_in_the_same_envelope(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)
    assert (reply.status_code, reply.json()["type"]) == (status, "error")


RICH: dict[str, Any] = {
    "model": "claude-sim-tools",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "[[tool:look]]"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}],
        },
        {"role": "system", "content": "carry on"},
    ],
    "tools": [
        {
            "name": "look",
            "description": "x",
            "input_schema": {"type": "object", "properties": {"a": {"type": "null"}}},
        },
        {
            "type": "web_search_20260318",
            "name": "web_search",
            "cache_control": {"type": "ephemeral"},
        },
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "thinking": {"type": "adaptive", "display": "omitted"},
    "output_config": {"effort": "low"},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
}


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [here, *(path for name, item in inner for path in paths(item, (*here, name)))]


async def test_no_wrong_value_anywhere_breaks_it(client: httpx.AsyncClient) -> None:
    """Every value of a rich request replaced by each kind of wrong one: the reply is an answer or a
    refusal.
    """
    assert (await client.post("/v1/messages", json=RICH)).status_code == 200
    for path in paths(RICH)[1:]:
        for wrong in (
            None,
            True,
            -1,
            1.5,
            "",
            "x",
            [],
            [[]],
            {},
            {"type": []},
            {"type": "text"},
            [{"type": "text"}],
        ):
            body = orjson.loads(orjson.dumps(RICH))
            parent = body
            for name in path[:-1]:
                parent = parent[name]
            parent[path[-1]] = wrong
            reply = await client.post("/v1/messages", json=body)
            assert reply.status_code in (200, 400, 404), (path, wrong, reply.text)
