from __future__ import annotations

import httpx
import pytest

from ccproxy.cli.codex_backend import Backend, read_reply
from shared.accounts.accounts import CodexAccount
from shared.formats.ir import Prompt, Text
from shared.runtime.errors import UpstreamError, UpstreamRefused
from shared.settings.providers import CodexSettings

PROMPT = Prompt("gpt-x")
CREATED = b'data: {"type":"response.created","response":{"id":"resp_1","model":"gpt-x"}}\n\n'
DELTA = b'data: {"type":"response.output_text.delta","output_index":0,"delta":"ready"}\n\n'
DONE = b'data: {"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
FAILED = (
    b'data: {"type":"response.failed","response":{"error":{"code":"x","message":"No more."}}}\n\n'
)


def test_a_stream_is_read_as_one_reply() -> None:
    reply = read_reply(PROMPT, CREATED + DELTA + DONE)
    assert reply.parts == (Text("ready"),)
    assert (reply.model, reply.stop.usage.prompt) == ("gpt-x", 3)


@pytest.mark.parametrize(
    ("stream", "said"), [(CREATED + FAILED, "No more."), (CREATED + DELTA, "broke off")]
)
def test_a_failure_is_told(stream: bytes, said: str) -> None:
    with pytest.raises(UpstreamRefused, match=said):
        read_reply(PROMPT, stream)


def backend(answer: httpx.MockTransport) -> Backend:
    settings = CodexSettings.model_validate({"api_key": "sk-key", "api_base_url": "http://api/v1"})
    return Backend(settings, CodexAccount(settings, {}), httpx.AsyncClient(transport=answer))


async def test_a_keys_models_are_read_by_id_and_it_has_no_windows() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"data": [{"id": "gpt-x"}]})

    of_key = backend(httpx.MockTransport(answer))
    assert await of_key.models() == [{"slug": "gpt-x", "id": "gpt-x"}]
    assert await of_key.usage() == {}
    assert asked == ["http://api/v1/models"]


@pytest.mark.parametrize("body", [b'{"detail":"Not today."}', b"Not today."])
async def test_a_refusal_keeps_its_words(body: bytes) -> None:
    refusing = backend(httpx.MockTransport(lambda _: httpx.Response(403, content=body)))
    with pytest.raises(UpstreamRefused, match="403: Not today"):
        await refusing.models()


async def test_a_provider_out_of_reach_is_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(UpstreamError, match="api cannot be reached"):
        await backend(httpx.MockTransport(answer)).models()
