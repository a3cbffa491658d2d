"""Model lists in the shape each client reads."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.gateway.conftest import Running, Start

LISTED = {
    "type": "model",
    "id": "claude-opus-9",
    "display_name": "Opus 9",
    "created_at": "2026-10-01T00:00:00Z",
}


async def listing(start_gateway: Start, **overrides: object) -> Running:
    running = await start_gateway(**overrides)
    running.provider.listing = lambda connection: connection.answer(
        orjson.dumps({"data": [LISTED]})
    )
    return running


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/models", "/sdk/v1/models", "/sdk/models"])
async def test_openai_s_clients_read_their_shape(start_gateway: Start, path: str) -> None:
    running = await listing(start_gateway)
    body = (await running.client.get(path)).json()
    assert body["object"] == "list"
    assert body["data"][0] == {
        "id": "claude-opus-9",
        "object": "model",
        "created": 1790812800,
        "owned_by": "anthropic",
        "display_name": "Opus 9",
    }


async def test_anthropic_s_clients_read_the_provider_s_own(start_gateway: Start) -> None:
    running = await listing(start_gateway)
    body = (
        await running.client.get("/api/v1/models", headers={"anthropic-version": "2023-06-01"})
    ).json()
    assert body["data"] == [LISTED]
    assert (body["has_more"], body["first_id"], body["last_id"]) == (
        False,
        "claude-opus-9",
        "claude-opus-9",
    )


async def test_the_owner_s_names_are_listed_and_patterns_are_not(start_gateway: Start) -> None:
    running = await listing(
        start_gateway, models={"aliases": {"big": "claude-opus-9", "o*": "x", "/a/": "x"}}
    )
    body = (await running.client.get("/api/v1/models")).json()
    assert [model["id"] for model in body["data"]] == ["claude-opus-9", "big"]


async def test_one_model_is_found_by_its_id_and_another_is_not(start_gateway: Start) -> None:
    running = await listing(start_gateway)
    assert (await running.client.get("/api/v1/models/claude-opus-9")).json()[
        "id"
    ] == "claude-opus-9"
    missing = await running.client.get("/api/v1/models/nothing")
    assert missing.status_code == 404
    assert "nothing" in missing.json()["error"]["message"]


async def test_a_provider_that_lists_nothing_is_told_of(start_gateway: Start) -> None:
    running = await start_gateway()
    words = b'{"type":"error","error":{"type":"authentication_error","message":"invalid key"}}'
    running.provider.listing = lambda connection: connection.answer(words, "401 No")
    response = await running.client.get("/api/v1/models")
    assert (response.status_code, response.content) == (401, words)
