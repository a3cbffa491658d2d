"""Message batches: what is refused, and what a batch's results are."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

PARAMS: dict[str, Any] = {
    "model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]
}  # fmt: skip


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {"custom_id": name, "params": PARAMS | changes}


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ([], "at least 1 item"),
        ([request("a"), request("a")], "must be unique"),
        ([request("a b")], "custom_id"),
        ([{"custom_id": "a"}], "params: Field required"),
        ([request("a") | {"x": 1}], "Extra inputs"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, requests: Any, told: str
) -> None:
    reply = await client.post("/v1/messages/batches", json={"requests": requests})
    assert reply.status_code == 400
    assert told in reply.json()["error"]["message"]


async def test_each_request_of_a_batch_succeeds_or_fails_alone(client: httpx.AsyncClient) -> None:
    requests = [
        request("good"),
        request("streamed", stream=True),
        request("gone", model="claude-2"),
    ]
    batch = (await client.post("/v1/messages/batches", json={"requests": requests})).json()
    path = f"/v1/messages/batches/{batch['id']}"
    assert (await client.get(f"{path}/results")).status_code == 404
    assert (await client.delete(path)).status_code == 400
    ended = (await client.get(path)).json()
    assert ended["results_url"] == f"https://api.anthropic.com{path}/results"
    assert (ended["request_counts"]["succeeded"], ended["request_counts"]["errored"]) == (1, 2)
    lines = [
        orjson.loads(line) for line in (await client.get(f"{path}/results")).content.splitlines()
    ]
    assert [line["result"]["type"] for line in lines] == ["succeeded", "errored", "errored"]
    assert (await client.post(f"{path}/cancel")).status_code == 400
    assert (await client.delete(path)).status_code == 200
    assert (await client.get(path)).status_code == 404
    assert (await client.put(path)).status_code == 405
