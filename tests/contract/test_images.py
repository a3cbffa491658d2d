"""The official OpenAI client makes and edits images at `/codex`, over the strict simulator, by
login and by key.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import OPENAI_KEY, GroundTruth

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BACKEND, PUBLIC = "/backend-api/codex/responses", "/v1/responses"


@pytest.fixture
async def images_url(open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path) -> str:
    return f"{await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))}/codex/v1"


@pytest.fixture
async def client(images_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=images_url, api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def by_key(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[AsyncOpenAI]:
    url = await open_gateway_at(
        codex=codex_settings(simulator.url, tmp_path, api_key=OPENAI_KEY, image_caller="gpt-5.5")
    )
    async with AsyncOpenAI(base_url=f"{url}/codex", api_key="unused", max_retries=0) as opened:
        yield opened


def pictures(reply: Any) -> list[bytes]:
    return [base64.b64decode(image.b64_json) for image in reply.data]


async def test_an_image_is_made_and_what_it_cost_is_told(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    reply = await client.images.generate(model="gpt-image-2", prompt="A grey cat")
    assert pictures(reply)[0].startswith(b"\x89PNG")
    assert reply.data
    assert reply.data[0].revised_prompt == "A picture: A grey cat"
    assert (reply.size, reply.output_format, reply.background) == ("1254x1254", "png", "opaque")
    assert reply.usage
    assert (reply.usage.output_tokens, reply.usage.input_tokens_details.text_tokens) == (1000, 20)
    sent = simulator.last(BACKEND).body
    assert sent["tools"] == [
        {"type": "image_generation", "action": "generate", "model": "gpt-image-2"}
    ]
    assert (sent["model"], sent["store"], "tool_choice" in sent) == ("gpt-6.1-sol", False, False)


async def test_what_the_backend_chose_otherwise_is_named(client: AsyncOpenAI) -> None:
    raw = await client.images.with_raw_response.generate(
        prompt="A cat",
        size="1024x1536",
        quality="hd",
        output_format="png",
        style="vivid",
        response_format="b64_json",
    )
    assert set(raw.headers["x-ccproxy-ignored"].split(",")) == {"size", "quality", "style"}
    assert raw.headers["x-ccproxy-model"] == "gpt-6.1-sol"


async def test_a_key_gets_the_size_and_the_format_it_asked_for(
    by_key: AsyncOpenAI, simulator: GroundTruth
) -> None:
    raw = await by_key.images.with_raw_response.generate(
        model="gpt-image-2",
        prompt="A cat",
        size="1024x1536",
        quality="low",
        output_format="webp",
        output_compression=50,
    )
    reply = raw.parse()
    assert "x-ccproxy-ignored" not in raw.headers
    assert (reply.size, reply.quality, reply.output_format) == ("1024x1536", "low", "webp")
    assert pictures(reply)[0].startswith(b"RIFF")
    sent = simulator.last(PUBLIC).body
    assert (sent["model"], sent["tool_choice"]) == ("gpt-5.5", {"type": "image_generation"})


async def test_several_images_are_several_requests(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    reply = await client.images.generate(model="gpt-5.5", prompt="A cat", n=3)
    assert len(pictures(reply)) == 3
    assert reply.usage
    assert reply.usage.output_tokens == 3000
    requests = simulator.requests(BACKEND)
    assert [request.body["model"] for request in requests] == ["gpt-5.5"] * 3
    assert "model" not in requests[0].body["tools"][0]


@pytest.mark.parametrize("count", [1, 2])
async def test_an_image_arrives_in_steps(client: AsyncOpenAI, count: int) -> None:
    stream = await client.images.generate(prompt="A cat", stream=True, partial_images=2, n=count)
    events = [event async for event in stream]
    kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.type for event in events] == kinds * count
    assert [getattr(event, "partial_image_index", None) for event in events[:3]] == [0, 1, None]
    assert len({event.b64_json for event in events[:3]}) == 3
    last: Any = events[-1]
    assert (last.usage.output_tokens, last.size) == (1000, "1254x1254")


async def test_images_are_edited_with_a_mask_in_a_form(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    files: Any = [("a.png", PNG, "image/png"), ("b.jpg", b"\xff\xd8\xff\xe0rest", "image/png")]
    reply = await client.images.edit(
        image=files, mask=("m.png", PNG, "image/png"), prompt="Add a hat", n=1, quality="high"
    )
    assert pictures(reply)
    sent = simulator.last(BACKEND).body
    parts = sent["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_image"]
    assert parts[1]["image_url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert parts[2]["image_url"].startswith("data:image/jpeg;base64,")
    assert sent["tools"][0]["input_image_mask"] == {"image_url": parts[1]["image_url"]}


async def test_one_image_is_edited_and_streamed(client: AsyncOpenAI) -> None:
    stream = await client.images.edit(
        image=("a.png", PNG, "image/png"), prompt="Hat", stream=True, partial_images=1
    )
    assert [event.type async for event in stream] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]


@pytest.mark.parametrize(
    "image", ["data:image/png;base64,iVBORw0KGgo=", "https://example.com/a.png"]
)
@pytest.mark.parametrize("spelling", ["image", "images"])
async def test_images_are_edited_by_json_too(
    images_url: str, simulator: GroundTruth, image: str, spelling: str
) -> None:
    given: Any = image if spelling == "image" else [{"image_url": image}]
    async with httpx.AsyncClient(base_url=images_url) as http:
        reply = await http.post("/images/edits", json={"prompt": "Hat", spelling: given})
    assert reply.status_code == 200, reply.text
    assert simulator.last(BACKEND).body["input"][0]["content"][1] == {
        "type": "input_image",
        "image_url": image,
    }


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({}, "prompt", "Missing"),
        ({"prompt": " "}, "prompt", "description"),
        ({"prompt": "x", "response_format": "url"}, "response_format", "no image is kept"),
        ({"prompt": "x", "n": 11}, "n", "at most 10"),
        ({"prompt": "x", "partial_images": 4, "stream": True}, "partial_images", "0 to 3"),
        ({"prompt": "x", "image": "data:,"}, "image", "/images/edits"),
        ({"prompt": "x", "seed": 1}, "seed", "Unrecognized"),
        ({"prompt": "x", "size": 1}, "size", "a string"),
    ],
)
async def test_what_cannot_be_made_is_refused_by_name(
    client: AsyncOpenAI, body: Any, param: str, told: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=told) as caught:
        await client.post("/images/generations", body=body, cast_to=object)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x"}, "image"),
        ({"prompt": "x", "image": {"file_id": "file_1"}}, "image.file_id"),
        (
            {"prompt": "x", "images": [{"image_url": "http://example.com/a.png"}]},
            "images[0].image_url",
        ),
        ({"prompt": "x", "image": ["data:image/png;base64,iVBORw0KGgo="] * 17}, "image"),
    ],
)
async def test_an_edit_needs_an_image_that_can_be_sent(
    client: AsyncOpenAI, body: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.post("/images/edits", body=body, cast_to=object)
    assert caught.value.param == param


async def test_the_providers_refusal_keeps_its_words(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="usage limit"):
        await client.images.generate(prompt="[[scenario:usage-limit-60]]", n=2)
    with pytest.raises(openai.BadRequestError, match="Compression is not supported"):
        await client.images.generate(prompt="A cat", output_compression=5)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        ("refusal", "without making an image: The simulated model declines"),
        ("failed", "Rate limit reached"),
        ("cut-1", "in the middle"),
    ],
)
async def test_a_stream_without_an_image_is_an_error(
    client: AsyncOpenAI, stream: bool, scenario: str, told: str
) -> None:
    async def make() -> None:
        request: Any = {"prompt": f"[[scenario:{scenario}]]", "stream": stream}
        reply: Any = await client.images.generate(**request)
        [event async for event in reply]

    with pytest.raises(openai.APIError, match=told):
        await make()


@pytest.mark.parametrize("edit", [False, True])
async def test_the_codex_programs_own_request_passes_as_it_is(
    images_url: str, simulator: GroundTruth, edit: bool
) -> None:
    route = "/images/edits" if edit else "/images/generations"
    body: Any = {"prompt": "A cat", "model": "gpt-image-2", "n": 2, "size": "auto"}
    body |= {"images": [{"image_url": "data:image/png;base64,AAAA"}]} if edit else {}
    own = {
        "originator": "codex_exec",
        "user-agent": "codex_exec/0.169.0",
        "x-codex-image-turn-id": "turn-1",
    }
    async with httpx.AsyncClient(base_url=images_url.removesuffix("/v1"), headers=own) as http:
        reply = await http.post(route, json=body)
        refusal = await http.post(route, json=body | {"seed": 1})
    assert (reply.status_code, len(reply.json()["data"])) == (200, 2)
    seen = simulator.requests(f"/backend-api/codex{route}")[0]
    assert seen.body == body
    assert (seen.header("originator"), seen.header("x-codex-image-turn-id")) == (
        "codex_exec",
        "turn-1",
    )
    assert (refusal.status_code, refusal.json()["error"]["param"]) == (400, "seed")


# --- Chat and Messages ---------------------------------------------------------------------------


async def test_an_image_reaches_a_chat_client_whole_and_streamed_and_goes_back(
    client: AsyncOpenAI, simulator: GroundTruth
) -> None:
    messages: list[Any] = [{"role": "user", "content": "Please draw a cat"}]
    request: Any = {"model": "gpt-5.5", "extra_body": {"modalities": ["image", "text"]}}
    whole = (await client.chat.completions.create(messages=messages, **request)).choices[0].message
    [image] = whole.to_dict()["images"]  # type: ignore[misc]
    assert (image["type"], image["index"]) == ("image_url", 0)
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    stream = await client.chat.completions.create(messages=messages, stream=True, **request)
    deltas = [chunk.choices[0].delta.to_dict() async for chunk in stream if chunk.choices]
    assert [delta["images"] for delta in deltas if "images" in delta] == [[image]]
    messages += [whole.to_dict(), {"role": "user", "content": "hello"}]
    again = await client.chat.completions.create(messages=messages, **request)
    assert again.choices[0].message.content == "You said: hello"
    [call] = [
        item
        for item in simulator.last(BACKEND).body["input"]
        if item["type"] == "image_generation_call"
    ]
    assert f"data:image/png;base64,{call['result']}" == image["image_url"]["url"]


async def test_a_provider_without_images_answers_in_text_and_the_loss_is_named(
    images_url: str,
) -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        },
        {"role": "user", "content": "hello"},
    ]
    body = {"model": "claude-haiku-5-5", "messages": said, "modalities": ["text", "image"]}
    async with httpx.AsyncClient(base_url=images_url.removesuffix("/codex/v1"), timeout=20) as http:
        reply = await http.post("/api/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert set(reply.headers["x-ccproxy-ignored"].split(",")) == {"modalities", "messages[].images"}
