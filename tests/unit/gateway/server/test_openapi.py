"""The document names everything that is served."""

from __future__ import annotations

from tests.unit.gateway.conftest import Start


async def test_proxy_routes_stand_beside_the_management_s(start_gateway: Start) -> None:
    running = await start_gateway()
    paths = (await running.client.get("/openapi.json")).json()["paths"]
    assert {"/api/v1/messages", "/sdk/v1/chat/completions", "/health", "/logs/query"} <= set(paths)
    assert (
        paths["/api/v1/responses"]["post"]["summary"]
        == "Send an OpenAI Responses request to Claude."
    )


async def test_every_operation_has_an_id_of_its_own(start_gateway: Start) -> None:
    running = await start_gateway()
    document = (await running.client.get("/openapi.json")).json()
    ids = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))
