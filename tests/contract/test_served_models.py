"""Who answered: the asked and the served model on every route and pair, and the way out of a
refused model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus.channels import (
    ACCESS_RECORD,
    SDK_TURN,
    Turn,
    TurnHead,
    TurnTail,
    decode_payload,
    encode_payload,
)
from shared.bus.records import unpack
from shared.runtime.errors import UpstreamRefused
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

Json = dict[str, Any]
FORMATS = {
    "/v1/messages": lambda model: {
        "model": model,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/chat/completions": lambda model: {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1/responses": lambda model: {"model": model, "input": "hi", "store": False},
}
SERVED = {"/api": "claude-sonnet-5-5", "/codex": "gpt-5.5", "/sdk": "claude-sonnet-4-5"}
ALIASES = {f"mine{prefix[1:]}": model for prefix, model in SERVED.items()}
RETIRED = {
    "/api": "claude-3-5-sonnet-20241022",
    "/codex": "gpt-5",
    "/sdk": "claude-3-5-sonnet-20241022",
}
PAIRS = [(prefix, path) for prefix in SERVED for path in FORMATS]
BEGUN = (
    b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],'
    b'"model":"claude-sonnet-4-5","usage":{"input_tokens":1,"output_tokens":1}}}'
)
STREAM = b"".join(
    b"event: %b\ndata: %b\n\n" % (name, data)
    for name, data in [
        (b"message_start", BEGUN),
        (
            b"content_block_start",
            b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        ),
        (
            b"content_block_delta",
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}',
        ),
        (b"content_block_stop", b'{"type":"content_block_stop","index":0}'),
        (
            b"message_delta",
            b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}',
        ),
        (b"message_stop", b'{"type":"message_stop"}'),
    ]
)


async def serve_turns(bus: Any) -> None:
    """Answer turns as a worker would: the known model speaks, any other is refused in Anthropic's
    words.
    """
    async for delivery in bus.serve(SDK_TURN, slots=4):
        await delivery.accept()
        model = decode_payload(Turn, delivery.payload).body["model"]
        if model != SERVED["/sdk"]:
            body = (
                b'{"type":"error","error":{"type":"not_found_error","message":"model: %b"}}'
                % model.encode()
            )
            await delivery.fail(UpstreamRefused(f"model: {model}", status=404, body=body))
            continue
        for reply in (encode_payload(TurnHead("w1")), STREAM, encode_payload(TurnTail())):
            await delivery.send(reply)
        await delivery.finish()


@pytest.fixture
async def http(
    open_gateway_at: OpenGateway, simulator: GroundTruth, bus_factory: BusFactory, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    url = await open_gateway_at(
        codex=codex_settings(simulator.url, tmp_path), models={"aliases": ALIASES}
    )
    worker = asyncio.create_task(serve_turns(await bus_factory("sdk_worker")))
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False) as opened:
        yield opened
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


@pytest.mark.parametrize(("prefix", "path"), PAIRS)
async def test_a_reply_names_the_served_model_where_an_alias_chose_it_whole_and_streamed(
    http: httpx.AsyncClient, prefix: str, path: str
) -> None:
    alias, model = f"mine{prefix[1:]}", SERVED[prefix]
    for streamed in (False, True):
        aliased = await http.post(prefix + path, json=FORMATS[path](alias) | {"stream": streamed})
        assert (aliased.status_code, aliased.headers.get("x-ccproxy-model")) == (200, model), (
            aliased.text
        )
        assert alias in aliased.text
        plain = await http.post(prefix + path, json=FORMATS[path](model) | {"stream": streamed})
        assert (plain.status_code, plain.headers.get("x-ccproxy-model")) == (200, None), plain.text


@pytest.mark.parametrize(("prefix", "path"), PAIRS)
async def test_a_retired_model_is_refused_in_the_providers_words_with_a_hint_beside_them(
    http: httpx.AsyncClient, prefix: str, path: str
) -> None:
    model = RETIRED[prefix]
    for streamed in (False, True):
        refused = await http.post(prefix + path, json=FORMATS[path](model) | {"stream": streamed})
        assert refused.status_code == (400 if prefix == "/codex" else 404), refused.text
        assert model in refused.json()["error"]["message"]
        hint = refused.headers["x-ccproxy-hint"]
        assert model in hint
        assert ("/codex/v1/models" if prefix == "/codex" else "/api/v1/models") in hint
        assert "MODELS__ALIASES" in hint


async def test_any_other_refusal_has_no_hint(http: httpx.AsyncClient) -> None:
    for path, ask in FORMATS.items():
        refused = await http.post("/api" + path, json=ask("claude-sim-400"))
        assert refused.status_code == 400
        assert "x-ccproxy-hint" not in refused.headers


async def test_a_cache_miss_that_the_provider_tells_passes_and_is_recorded(
    open_gateway_at: OpenGateway, bus_factory: BusFactory, simulator: GroundTruth
) -> None:
    watching = await bus_factory("analytics")
    url = await open_gateway_at()
    ask = FORMATS["/v1/messages"]("claude-sonnet-5-5")
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False) as client:
        first = await client.post(
            "/api/v1/messages", json=ask | {"diagnostics": {"previous_message_id": None}}
        )
        changed = ask | {
            "system": "Be brief.",
            "diagnostics": {"previous_message_id": first.json()["id"]},
        }
        second = await client.post("/api/v1/messages", json=changed)
    assert second.json()["diagnostics"]["cache_miss_reason"]["type"] == "system_changed"
    reasons: list[str] = []
    async for delivery in watching.serve(ACCESS_RECORD, slots=1):
        await delivery.accept()
        reasons += [record.cache_miss_reason for record in unpack(delivery.payload)]
        await delivery.finish()
        if len(reasons) == 2:
            break
    assert reasons == ["", "system_changed"]
