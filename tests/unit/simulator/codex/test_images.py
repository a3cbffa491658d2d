"""The image tool at both doors."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.simulator.codex.conftest import Door, backend_body, items

TOOL = {"type": "image_generation", "size": "1024x1536", "output_format": "webp", "quality": "low"}
FORCED = {"type": "image_generation"}


async def test_the_backend_draws_when_it_likes_and_as_it_likes(backend: Door) -> None:
    [item] = items(await backend.ask("draw a cat", tools=[TOOL]))
    assert (item["type"], item["size"], item["output_format"]) == (
        "image_generation_call",
        "1254x1254",
        "png",
    )
    assert base64.b64decode(item["result"]).startswith(b"\x89PNG")
    assert items(await backend.ask("hello", tools=[TOOL]))[0]["type"] == "message"
    refused = await backend.post(backend_body("hello", tools=[TOOL], tool_choice=FORCED))
    assert (
        refused.json()["error"]["message"]
        == "Tool choice 'image_generation' not found in 'tools' parameter."
    )


async def test_the_public_interface_does_as_it_is_told(public: Door) -> None:
    found = await public.ask("hello", tools=[TOOL | {"partial_images": 2}], tool_choice=FORCED)
    [item] = items(found)
    assert (item["size"], item["quality"]) == ("1024x1536", "low")
    assert base64.b64decode(item["result"]).startswith(b"RIFF")
    kinds = [
        event["type"].rpartition(".")[2]
        for event in found
        if "image_generation_call" in event["type"]
    ]
    assert kinds == ["in_progress", "generating", "partial_image", "partial_image", "completed"]
    assert found[-1]["response"]["tool_usage"]["image_gen"]["output_tokens"] == 1000


@pytest.mark.parametrize(
    "change",
    [
        {"size": "big"},
        {"quality": "hd"},
        {"partial_images": 4},
        {"style": "vivid"},
        {"output_format": "jpeg", "background": "transparent"},
        {"output_format": "png", "output_compression": 5},
        {"action": "edit"},
    ],
)
async def test_a_tool_that_makes_no_sense_is_refused(public: Door, change: dict[str, Any]) -> None:
    assert (await public.post(backend_body("draw", tools=[TOOL | change]))).status_code == 400
