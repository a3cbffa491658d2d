"""A subscription that serves other programs not at all, or only for extra money: the provider's
words reach the client in each format, and the record names the kind and who pays.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import unpack
from simulator.anthropic.access import THIRD_PARTY
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway

HELLO = [{"role": "user", "content": "hello"}]
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/api/v1/messages", {"max_tokens": 99, "messages": HELLO}),
    ("/api/v1/chat/completions", {"messages": HELLO}),
    ("/api/v1/responses", {"input": "hello"}),
]
EACH = pytest.mark.parametrize(("path", "body"), ROUTES, ids=[path for path, _ in ROUTES])
STREAMED = pytest.mark.parametrize("streamed", [True, False])


async def ask(
    open_gateway_at: OpenGateway, buses: BusFactory, token: str, path: str, body: dict[str, Any]
) -> tuple[httpx.Response, AccessRecord]:
    """Return the reply of a gateway that has the login `token`, and the record of the request."""
    watching = await buses("analytics")
    url = await open_gateway_at(claude={"api_key": None, "oauth_token": token})
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        reply = await client.post(path, json={"model": "claude-sonnet-5-5", **body})
    async for delivery in watching.serve(ACCESS_RECORD, slots=1):
        await delivery.accept()
        records = [record for record in unpack(delivery.payload) if record.path == path]
        await delivery.finish()
        if records:
            return reply, records[0]
    raise AssertionError("the request left no record")


@EACH
@STREAMED
async def test_a_refusal_of_other_programs_reaches_the_client_word_for_word(
    open_gateway_at: OpenGateway,
    bus_factory: BusFactory,
    path: str,
    body: dict[str, Any],
    streamed: bool,
) -> None:
    body = body | {"stream": streamed}
    reply, record = await ask(open_gateway_at, bus_factory, "sk-ant-oat01-own-apps", path, body)
    answer = reply.json()
    assert (reply.status_code, answer["error"]["message"]) == (400, THIRD_PARTY)
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer.get("type") == ("error" if path.endswith("messages") else None), (
        "the dialect is the client's"
    )
    assert (record.status_code, record.error_kind) == (400, "invalid_request_error")
    assert record.error_message == THIRD_PARTY
    assert record.billed_to == "subscription"


@EACH
@STREAMED
async def test_the_record_of_a_reply_that_costs_extra_names_that_billing(
    open_gateway_at: OpenGateway,
    bus_factory: BusFactory,
    path: str,
    body: dict[str, Any],
    streamed: bool,
) -> None:
    body = body | {"stream": streamed}
    reply, record = await ask(open_gateway_at, bus_factory, "sk-ant-oat01-extra-usage", path, body)
    assert reply.status_code == 200, reply.text
    assert (record.error_kind, record.billed_to) == ("", "extra_usage")
