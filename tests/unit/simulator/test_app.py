"""The application: ground truth, departures, and its own failures."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from simulator.app import Simulator
from simulator.exchange import SimulatedExchange
from tests.support.simulator_fixture import API_KEY, CHATGPT_HEADERS, KEY_HEADERS, OPENAI_KEY

HELLO = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
}


async def test_a_request_is_recorded_as_it_came_with_its_credential_masked(
    client: httpx.AsyncClient,
) -> None:
    raw = (
        b'{ "model":"claude-opus-5-5","max_tokens":10 , '
        b'"messages":[{"role":"user","content":"hi"}]}'
    )
    reply = await client.post("/v1/messages?beta=true", content=raw)
    (record,) = (await client.get("/simulator/requests")).json()
    assert record["body"].encode() == raw
    assert (record["method"], record["path"], record["status"]) == (
        "POST",
        "/v1/messages?beta=true",
        200,
    )
    assert ["x-api-key", f"…{API_KEY[-4:]}"] in record["headers"]
    assert record["usage"] == reply.json()["usage"]
    assert record["cancelled"] is False


async def test_the_ground_truth_is_not_part_of_itself_and_can_be_cleared(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/v1/messages", json=HELLO)
    assert (await client.get("/simulator/totals")).json()["by_status"] == {"200": 1}
    await client.delete("/simulator/requests")
    assert (await client.get("/simulator/requests")).json() == []
    assert (await client.get("/simulator/totals")).json()["requests"] == 0
    assert (await client.get("/simulator/nothing")).status_code == 404


async def test_refused_requests_are_recorded_too(client: httpx.AsyncClient) -> None:
    await client.post("/v1/messages", json=HELLO | {"surprise": 1})
    (record,) = (await client.get("/simulator/requests")).json()
    assert record["status"] == 400


def scope_for(path: str) -> dict[str, Any]:
    headers = [(name.encode(), value.encode()) for name, value in KEY_HEADERS.items()]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}


async def test_a_client_that_leaves_ends_the_reply_and_is_recorded() -> None:
    simulator, gone, sent = Simulator(), asyncio.Event(), asyncio.Event()
    body = (
        b'{"model":"claude-sim-hang","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}'
    )
    incoming = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        sent.set()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(f"a hanging reply sent {message}")

    call = asyncio.create_task(simulator(scope_for("/v1/messages"), receive, send))
    await sent.wait()
    assert simulator.ledger.requests()[0]["ended_after_ms"] is None
    gone.set()
    await asyncio.wait_for(call, 5)
    (record,) = simulator.ledger.requests()
    assert (record["cancelled"], record["status"], simulator.ledger.totals()["cancelled"]) == (
        True,
        None,
        1,
    )


async def test_a_client_that_leaves_while_sending_is_recorded() -> None:
    simulator = Simulator()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await simulator(scope_for("/v1/messages"), receive, send)
    assert simulator.ledger.requests()[0]["cancelled"] is True


async def broken(exchange: SimulatedExchange) -> None:
    raise ZeroDivisionError(exchange.path)


async def test_a_fault_of_its_own_is_a_500_that_says_so() -> None:
    simulator = Simulator(broken)
    transport = httpx.ASGITransport(app=simulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        reply = await client.get("/v1/models")
    assert reply.status_code == 500
    assert "The simulator broke" in reply.json()["error"]["message"]
    assert simulator.ledger.totals()["by_status"] == {"500": 1}


async def test_other_protocols_are_left_alone() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("nothing to say")

    await Simulator()({"type": "lifespan"}, never, never)


async def test_each_provider_answers_at_its_paths(client: httpx.AsyncClient) -> None:
    claude = (await client.get("/v1/models")).json()
    client.headers = httpx.Headers()
    openai = (
        await client.get("/v1/models", headers={"authorization": f"Bearer {OPENAI_KEY}"})
    ).json()
    path = "/backend-api/codex/models?client_version=0.169.0"
    codex = (await client.get(path, headers=CHATGPT_HEADERS)).json()
    assert "has_more" in claude
    assert openai["object"] == "list"
    assert "models" in codex
